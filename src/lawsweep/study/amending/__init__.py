"""Rows that are made again, or taken out: which ones, what that costs, and doing it."""
