"""The command line: the only place that knows Hydra and the terminal."""

from lawsweep.cli import early

early.begin()
