"""Where the store may be: a file system or an object store."""
