"""What surrounds a run where it runs."""
