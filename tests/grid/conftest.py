"""Fixtures of the command."""

from command_fixtures import lawsweep, toy_sweep, write  # noqa: F401
