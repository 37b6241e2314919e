"""Who hears of a launch: by name, and how they are told."""
