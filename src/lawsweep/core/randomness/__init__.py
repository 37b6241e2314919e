"""Named random streams, derived from a run's seed."""
