"""Which code makes the rows."""
