"""The built-in experiments: thin, they call kernels."""
