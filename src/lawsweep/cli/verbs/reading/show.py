"""``lawsweep show``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from lawsweep.cli.answers import Answer, verb
from lawsweep.cli.options import results_dir
from lawsweep.cli.shell.completion import run_ids_like
from lawsweep.cli.text import size


@dataclass
class Shown(Answer):
    """One row, its arrays (shape, unit, meaning of each) and the launch that made it.

    ``meanings`` has unit and meaning of every value, where they were asked for; ``changed`` the
    files of its code that say something else since.
    """

    row: Mapping[str, Any]
    arrays: Mapping[str, Mapping[str, Any]]
    launch: Mapping[str, Any] | None
    meanings: Mapping[str, tuple[str, str]] | None
    artefacts: Sequence[Mapping[str, Any]] = ()
    changed: str | None = None

    def lines(self) -> Iterator[str]:
        """A value a line, then the launch's record, an entry a line."""
        shapes = {n: f"array of shape {tuple(a['shape'])}" for n, a in self.arrays.items()}
        for name, value in {**self.row, **shapes}.items():
            if value is None:
                continue
            unit, meaning = (self.meanings or {}).get(name, ("", ""))
            text = str(value) + (f" {unit}" if unit not in ("", "1") else "")
            yield f"{name:>20}  " + text.replace("\n", "\n" + " " * 22)
            if meaning:
                yield f"{'':>20}    {meaning}"
        for one in self.artefacts:
            yield f"{'artefact':>20}  {one['name']} ({size(one['n_bytes'])}): {one['where']}"
        if self.launch is None:
            yield f"{'launch':>20}  its record is not in this results folder"
        if self.changed is not None:
            yield f"{'code':>20}  other than today's, changed since: {self.changed}"
        for name, value in (self.launch or {}).items():
            if text := _entry(value):
                yield f"{'launch.' + name:>26}  {text}"

    def to_dict(self) -> dict[str, Any]:
        """The row, with ``arrays``, ``launch`` and perhaps ``meanings``."""
        answer = {**self.row, "arrays": self.arrays, "artefacts": list(self.artefacts)}
        answer["launch"] = self.launch
        if self.changed is not None:
            answer["changed_since"] = self.changed
        if self.meanings is not None:
            told = {n: {"unit": u, "meaning": m} for n, (u, m) in self.meanings.items()}
            answer["meanings"] = told
        return answer


def _entry(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items() if v not in (None, [], {}, ""))
    if isinstance(value, list):
        return " ".join(map(str, value[:5])) + (" ..." if value[5:] else "")
    return "" if value is None else str(value)


@verb(10, short_help="One row, whole, with the launch that made it.", only_prints=True)
@click.argument("run_id", shell_complete=run_ids_like)
@click.argument("overrides", nargs=-1)
@click.option("--meanings", "with_meanings", is_flag=True, help="Unit and meaning of each value.")
def show(run_id: str, overrides: tuple[str, ...], with_meanings: bool) -> Shown:
    """One row, whole: params, metrics, arrays, failure, and the launch that made it.

    RUN_ID may be shortened to a unique beginning.
    """
    from lawsweep.core.registry import experiment_at_hand
    from lawsweep.store.table.tables import arrays_of_row, meanings
    from lawsweep.study.code.rows import changed_since
    from lawsweep.study.reading.rows import show as find_row

    place = results_dir(overrides)
    row = find_row(run_id, place)
    launch, left = row.pop("launch"), row.pop("artefacts")
    told = meanings(place, row["experiment"])
    arrays = {
        name: {"shape": list(a.shape), "unit": told[name][0], "meaning": told[name][1]}
        for name, a in arrays_of_row(place, row["experiment"], row).items()
    }
    changed = changed_since(experiment_at_hand(row["experiment"]), launch)
    return Shown(row, arrays, launch, told if with_meanings else None, left, changed)
