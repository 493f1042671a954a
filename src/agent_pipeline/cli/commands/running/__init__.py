"""Running: a new run, going on with one, the simulator to run against."""
