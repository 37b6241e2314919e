"""Which code made rows, how it differs from today's, and how that is settled."""
