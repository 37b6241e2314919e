"""Plan and run."""
