"""How a sweep spans its params: axes, expressions, the plan, the sweep itself."""
