"""Laws of rows of which some are only bounds of their value."""
