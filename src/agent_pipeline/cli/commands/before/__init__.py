"""Before a run: is the configuration right, what would a run need, what would go wrong."""
