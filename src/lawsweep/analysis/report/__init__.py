"""One page about a sweep."""
