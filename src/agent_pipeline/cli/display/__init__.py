"""Progress on stderr: sinks that show a run while it goes on."""
