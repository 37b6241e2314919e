"""Whether a law holds: its bands, its bend, and what else its points may follow."""
