"""The Parquet table: parts, schema, reading and writing."""
