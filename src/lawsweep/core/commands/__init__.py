"""A command as an experiment: a program that any language may be written in."""
