"""Laws: fits with intervals, checks and evidence."""
