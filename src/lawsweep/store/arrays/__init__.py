"""Large arrays beside the rows."""
