"""From a sweep's name and overrides to a Sweep: the only room that knows Hydra."""
