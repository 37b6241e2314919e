"""Replay, compare, archive, import, SQL."""
