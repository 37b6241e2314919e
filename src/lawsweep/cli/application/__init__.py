"""The terminal of somebody else's program that runs a study: a Hydra application."""
