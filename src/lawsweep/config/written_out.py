"""Blocks of axes that stand elsewhere: interpolated ones, and points files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.schema import FieldSpec
from lawsweep.grid.axes import kind_names


class WrittenOut:
    """Writes the blocks of an ``axes`` entry out, so that overrides can reach into them.

    ``resolve`` gives what an interpolated text stands for, ``specs`` the experiment's params, and
    ``limit`` how many points there may be.  The columns of a file are kept here, and a name stands
    for each until ``put_back``: nothing looks at a million values that are none of its business.
    """

    def __init__(
        self,
        resolve: Callable[[str], Any],
        specs: Callable[[], Mapping[str, FieldSpec]],
        limit: int,
    ):
        self._resolve, self._specs, self._limit = resolve, specs, limit
        self._files: dict[str, dict[str, str]] = {}
        self._columns: dict[str, list[Any]] = {}

    def write(self, axes: Any) -> Any:
        """The entry with every interpolated block, and every points file, written out."""
        axes = self._read(axes)
        if isinstance(axes, list | tuple):
            return [self.write(block) for block in axes]
        if not isinstance(axes, Mapping):
            return axes
        kinds = kind_names()
        return {k: self._block(k, v) if k in kinds else v for k, v in axes.items()}

    def put_back(self, axes: Any) -> Any:
        """The entry with the columns of points files in it."""
        if isinstance(axes, str):
            return self._columns.get(axes, axes)
        if isinstance(axes, list):
            return [self.put_back(v) for v in axes] if self._columns else axes
        return {k: self.put_back(v) for k, v in axes.items()} if isinstance(axes, dict) else axes

    def _read(self, value: Any) -> Any:
        return self._resolve(value) if isinstance(value, str) and "${" in value else value

    def _block(self, kind: str, value: Any) -> Any:
        value = self._read(value)
        if isinstance(value, str):
            return self._file(value) if kind == "points" else value
        if isinstance(value, list | tuple):
            return [self._member(self._read(m)) for m in value]
        return self._member(value)

    def _member(self, value: Any) -> Any:
        """A grid inside, of a union say: its axes too."""
        if not isinstance(value, Mapping):
            return value
        found = {k: self._part(v) for k, v in value.items()}
        return {**found, "axes": self.write(found["axes"])} if "axes" in found else found

    def _part(self, value: Any) -> Any:
        """An interpolated mapping, such as the box of a sample; values are looked at later."""
        with suppress(InvalidValueError):
            found = self._read(value)
            return found if isinstance(found, Mapping) else value
        return value

    def _file(self, path: str) -> dict[str, str]:
        if path not in self._files:
            from lawsweep.store.exchange.points_file import read_points

            names: dict[str, str] = {}
            for name, column in read_points(Path(path), self._specs(), self._limit).items():
                names[name] = f"\0{len(self._files)}.{len(names)}"
                self._columns[names[name]] = column
            self._files[path] = names
        return dict(self._files[path])
