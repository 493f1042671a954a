"""Runs on disk: their directories, found again by name, held by one process at a time, and read back."""
