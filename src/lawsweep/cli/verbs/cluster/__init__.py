"""On a cluster."""
