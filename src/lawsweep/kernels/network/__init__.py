"""Networks: what they are, how they begin, what their layers do."""
