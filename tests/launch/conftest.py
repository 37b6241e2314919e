"""Fixtures of the command, for launches by its words."""

from command_fixtures import write  # noqa: F401
