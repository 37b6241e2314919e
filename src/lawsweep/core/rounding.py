"""How closely two machines agree, by the floating type that a run computes in (its param dtype)."""

from __future__ import annotations

EPS = {"float64": 2.0**-52, "float32": 2.0**-23}
# Relative, for a stable computation.  As many of float32's digits as of float64's: eps**0.57.
TOLERANCES = {"float64": 1e-9, "float32": 1e-4}
