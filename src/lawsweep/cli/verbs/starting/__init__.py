"""Find and begin."""
