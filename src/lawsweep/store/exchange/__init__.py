"""Files for and from other tools: tables, points, YAML."""
