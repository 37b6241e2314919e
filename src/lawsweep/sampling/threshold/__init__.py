"""The threshold of an event along one axis, cell by cell."""
