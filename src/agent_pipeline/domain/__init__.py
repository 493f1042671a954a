"""Pure values and Protocol ports; no Trio, no I/O."""
