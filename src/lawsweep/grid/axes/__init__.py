"""Axes: how a sweep spans its params, as a tree of nodes, one class a kind.

``axes`` is a mapping (a product of axes) or a list of mappings (a product of blocks).  A key of a
mapping is the name of an axis, or of a kind that makes axes of what stands after it:

- ``zip``: axes that advance together;
- ``points``: explicit points, a list of mappings or a mapping of columns;
- ``sample``: a space-filling sample of a box (``grid/designs.py``);
- ``when``: axes that apply only where a condition holds (``if`` and ``axes``);
- ``union``: a list of grids, each with its own ``axes`` and, if wanted, ``params``, ``derive`` and
  ``where``.

An axis is a list, one value, or an expression over ``linspace(a, b, n)``, ``logspace(a, b, n)``
(n values from a to b, equally spaced in the logarithm) and ``range(a, b, step)`` (without b), such
as ``floor(sqrt(1000 * range(5, 956, 50)))``.

The points come as numpy columns, last axis fastest, so a million of them are a few arrays.
"""

from lawsweep.grid.axes.flat import Points, Sample, Zip
from lawsweep.grid.axes.nested import Union, When
from lawsweep.grid.axes.node import Axes, Axis, Flat, Plain, axis_kind, kind_names, read_axes
from lawsweep.grid.axes.space import Space

__all__ = [
    "Axes", "Axis", "Flat", "Plain", "Points", "Sample", "Space", "Union", "When", "Zip",
    "axis_kind", "kind_names", "read_axes",
]  # fmt: skip
