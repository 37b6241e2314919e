"""The tidy table as an xarray Dataset: dims are the axes of the grid, seeds the last of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.schema import FieldSpec
from lawsweep.grid.axes import Axes, Sample, read_axes
from lawsweep.grid.plan import Plan
from lawsweep.study.opening import Opened

if TYPE_CHECKING:
    import xarray as xr

FULL = 0.1  # a box of which less is planned is no grid
MOST_CELLS = 200_000_000  # of one variable: 1.6 GB of float64
_INSTEAD = "study.frame() has one row a run, and study.arrays(name) the arrays."


def to_xarray(opened: Opened) -> xr.Dataset:
    """See ``Study.to_xarray``."""
    try:
        import xarray as xr
    except ImportError:
        raise InvalidValueError(
            "to_xarray needs the package xarray, which is not installed. "
            f"pip install 'lawsweep[xarray]', or stay with pandas: {_INSTEAD}"
        ) from None
    from lawsweep.study.reading.rows import arrays, rows

    plan, table = opened.plan, rows(opened)
    run_ids = table["run_id"].to_pylist()
    box = _Box(plan, read_axes(opened.sweep.axes, [s.name for s in plan.experiment.params]))
    order = {run_id: i for i, run_id in enumerate(plan.run_ids)}
    cells = box.cells(np.array([order[r] for r in run_ids], dtype=np.int64))
    statuses = np.full(box.shape, "unplanned", dtype=object)
    statuses.flat[cells] = table["status"].to_pylist()
    found: dict[str, Any] = {"status": (box.names, statuses, {})}
    for spec in plan.experiment.metrics:
        values = box.spread(cells, table[spec.name].to_pylist(), spec.kind)
        found[spec.name] = (box.names, values, _told(spec))
    for spec in plan.experiment.arrays:
        of_run = arrays(opened, spec.name)
        given = [(c, of_run[r]) for c, r in zip(cells, run_ids, strict=True) if r in of_run]
        inside, values = box.spread_arrays(spec.name, given)
        found[spec.name] = ((*box.names, *inside), values, _told(spec))
    experiment = plan.experiment
    facts = {
        "sweep": opened.sweep.name,
        "experiment": experiment.name,
        "version": experiment.version,
    }
    specs = {s.name: s for s in experiment.params}
    coords = {
        name: (dims, values, _told(specs[name]) if name in specs else {})
        for name, (dims, values) in box.coords().items()
    }
    return xr.Dataset(found, coords=coords, attrs=facts)


def _told(spec: FieldSpec) -> dict[str, str]:
    """Meaning and unit, as xarray's plots look for them."""
    told = {"long_name": spec.info.meaning, "units": spec.info.unit}
    return {key: text for key, text in told.items() if text}


class _Box:
    """The box that the plan's points lie in: a side an axis, and of seeds the last."""

    def __init__(self, plan: Plan, axes: Axes):
        self._plan = plan
        self._columns = {**plan.extra, **plan.params}
        self._codes = {name: _codes(column) for name, column in self._columns.items()}
        self._varying = [n for n, (_, first) in self._codes.items() if len(first) > 1]
        self._sides: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # place a point; a point a place
        for names in self._groups(axes):
            self._add(names)
        for name in self._fixed_by_grids():
            if self._is_told_apart():
                break
            self._add([name])
        self._check()

    @property
    def names(self) -> tuple[str, ...]:
        """Dims: the axes, and ``seed`` where the experiment takes one."""
        return (*self._sides, "seed") if self._plan.experiment.takes_seed else tuple(self._sides)

    @property
    def shape(self) -> tuple[int, ...]:
        """How long each side is."""
        sides = tuple(len(first) for _, first in self._sides.values())
        return (*sides, len(self._plan.seeds)) if self._plan.experiment.takes_seed else sides

    def cells(self, runs: np.ndarray) -> np.ndarray:
        """The cell of each run, in the order of memory, shape (n,)."""
        points, seeds = np.divmod(runs, len(self._plan.seeds))
        where = [place[points] for place, _ in self._sides.values()]
        if self._plan.experiment.takes_seed:
            where.append(seeds)
        return np.ravel_multi_index(where, self.shape) if where else np.zeros_like(runs)

    def spread(self, cells: np.ndarray, values: Sequence[Any], kind: str) -> np.ndarray:
        """Values of runs in their cells, NaN where there is none.

        With gaps whole numbers are float64, and truth values objects, as xarray has them.
        """
        is_whole = len(cells) == math.prod(self.shape) and not any(v is None for v in values)
        dtype: Any = {"int": np.int64, "bool": np.bool_}.get(kind, object) if is_whole else object
        dtype = np.float64 if kind == "float" or (kind == "int" and not is_whole) else dtype
        flat = _blank(math.prod(self.shape), np.dtype(dtype))
        for cell, value in zip(cells.tolist(), values, strict=True):
            if value is not None:
                flat[cell] = value
        return flat.reshape(self.shape)

    def spread_arrays(
        self, name: str, there: Sequence[tuple[int, np.ndarray]]
    ) -> tuple[tuple[str, ...], np.ndarray]:
        """Arrays of runs in their cells, and the names of the dims that they have inside.

        Where they are not of one shape each side is as long as the longest, with NaN at the end.
        """
        ranks = {array.ndim for _, array in there} or {1}
        if len(ranks) > 1:
            raise InvalidValueError(
                f"The array {name} needs as many dims in every run, got {sorted(ranks)}. {_INSTEAD}"
            )
        inside = tuple(max((a.shape[k] for _, a in there), default=0) for k in range(ranks.pop()))
        n = math.prod(self.shape) * math.prod(inside)
        if n > MOST_CELLS:
            raise InvalidValueError(
                f"The array {name} has {n:,} values in all, and a Dataset takes at most "
                f"{MOST_CELLS:,}. study.arrays({name!r}) reads them run by run."
            )
        flat = np.full((math.prod(self.shape), *inside), np.nan)
        for cell, array in there:
            flat[cell][tuple(map(slice, array.shape))] = array
        dims = (name,) if len(inside) == 1 else tuple(f"{name}_{k}" for k in range(len(inside)))
        return tuple(f"{d}_index" for d in dims), flat.reshape((*self.shape, *inside))

    def coords(self) -> dict[str, tuple[tuple[str, ...], Any]]:
        """Every column along the fewest sides that tell it, and constants along none."""
        found: dict[str, tuple[tuple[str, ...], Any]] = {}
        for name, column in self._columns.items():
            if name not in self._varying:
                found[name] = ((), _typed(column[:1])[0])
            elif name in self._sides:
                found[name] = ((name,), _typed(column[self._sides[name][1]]))
            else:
                found[name] = self._along(name)
        if self._plan.experiment.takes_seed:
            found["seed"] = (("seed",), np.asarray(self._plan.seeds))
        return found

    def _along(self, name: str) -> tuple[tuple[str, ...], Any]:
        column, (codes, _) = self._columns[name], self._codes[name]
        for side, (place, first) in self._sides.items():
            if np.array_equal(codes[first][place], codes):
                return (side,), _typed(column[first])
        shape = tuple(len(first) for _, first in self._sides.values())
        places = np.ravel_multi_index([place for place, _ in self._sides.values()], shape)
        values = _typed(column)
        is_whole = len(places) == math.prod(shape)
        if values.dtype != object and not is_whole:
            values = values.astype(np.float64 if values.dtype.kind in "iuf" else object)
        flat = _blank(math.prod(shape), values.dtype)
        flat[places] = values
        return tuple(self._sides), flat.reshape(shape)

    def _groups(self, axes: Axes) -> Iterator[list[str]]:
        """Names of axes that vary, those that advance together in one list."""
        apart = {n for node in _all_nodes(axes) if isinstance(node, Sample) for n in node.names}
        if len(apart & set(self._varying)) > 1:
            raise InvalidValueError(
                "A Dataset needs points that form a grid, got a sample of "
                f"{', '.join(sorted(apart))}. {_INSTEAD}"
            )
        seen: set[str] = set()
        for name in dict.fromkeys([*axes.names, *(n for i in axes.inner() for n in i.axes.names)]):
            if name in seen or name not in self._varying:
                continue
            group = [name, *(n for n in axes.together(name) if n in self._varying)]
            seen.update(group)
            yield group

    def _fixed_by_grids(self) -> list[str]:
        """Params that differ from grid to grid of a union."""
        derived = {name for derive in self._plan.derives for name in derive}
        return [n for n in self._varying if n not in derived and n not in self._sides]

    def _add(self, names: Sequence[str]) -> None:
        """A side; axes that advance together are one, by the name of the first that tells all."""
        codes = np.stack([self._codes[n][0] for n in names])
        _, first, place = np.unique(codes, axis=1, return_index=True, return_inverse=True)
        place = place.reshape(-1)
        label = next((n for n in names if len(self._codes[n][1]) == len(first)), "_".join(names))
        order = np.argsort(first, kind="stable") if self._is_unordered(label) else None
        if order is not None:
            rank = np.empty_like(order)
            rank[order] = np.arange(len(order))
            first, place = first[order], rank[place]
        self._sides[label] = (place, first)

    def _is_unordered(self, name: str) -> bool:
        """Texts stay in the order in which the sweep has them."""
        return name not in self._columns or self._columns[name].dtype.kind not in "iuf"

    def _is_told_apart(self) -> bool:
        if not self._sides:
            return self._plan.n_points <= 1
        places = np.stack([place for place, _ in self._sides.values()])
        return bool(np.unique(places, axis=1).shape[1] == self._plan.n_points)

    def _check(self) -> None:
        n, cells = self._plan.n_points, math.prod(len(first) for _, first in self._sides.values())
        if self._is_told_apart() and n >= FULL * cells and cells <= MOST_CELLS:
            return
        raise InvalidValueError(
            f"A Dataset needs points that form a grid, got {n:,} points in a box of {cells:,} "
            f"cells ({' x '.join(self._sides) or 'no axes'}). {_INSTEAD}"
        )


def _all_nodes(axes: Axes) -> Iterator[Any]:
    yield from axes
    for inner in axes.inner():
        yield from inner.axes


def _codes(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A whole number a value, those of numbers in their order; and a point of each."""
    if column.dtype != object:
        _, first, codes = np.unique(column, return_index=True, return_inverse=True)
        return codes.reshape(-1), first
    places: dict[Any, int] = {}
    codes = np.array([places.setdefault(v, len(places)) for v in column.tolist()], dtype=np.int64)
    return codes, np.unique(codes, return_index=True)[1]


def _blank(n: int, dtype: np.dtype[Any]) -> np.ndarray:
    """``n`` missing values, where the type has one."""
    return np.full(n, {"f": np.nan, "O": None}.get(dtype.kind, 0), dtype=dtype)


def _typed(column: np.ndarray) -> np.ndarray:
    """Numbers and truth values as they are, all else as objects: a list as a tuple."""
    return column if column.dtype.kind in "iufb" else column.astype(object)
