"""Keep the store well: compact, verify, remove what dead writers left."""
