"""A project as a whole: its defaults, the sweeps it has, and how one is begun."""
