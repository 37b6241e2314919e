"""The Parquet table."""
