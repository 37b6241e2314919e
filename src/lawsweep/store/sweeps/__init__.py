"""What a sweep leaves beside its rows."""
