"""Somebody's own Hydra application as an experiment: its jobs, their configs, their runs."""
