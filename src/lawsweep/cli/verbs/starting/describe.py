"""``lawsweep describe``."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import Answer, verb

if TYPE_CHECKING:
    from lawsweep.config.project.catalogue import Entry
    from lawsweep.core.experiment import Experiment
    from lawsweep.core.schema import FieldSpec

_WIDTH = 100


@dataclass
class Described(Answer):
    """An experiment, and the sweep that was asked about."""

    experiment: Experiment
    sweep: Entry | None
    notes: Sequence[str] = ()  # on its rows: by other code, or without a metric of today

    def lines(self) -> Iterator[str]:
        """What it is, then a field each two lines: name, type, default, range; its meaning."""
        found = self.experiment
        if self.sweep is not None:
            yield from _wrapped(f"sweep {self.sweep.name}: {self.sweep.question}", 0)
            yield f"file: {self.sweep.path}"
            if self.sweep.presets:
                yield f"presets: {', '.join(self.sweep.presets)}"
            for note in self.notes:
                yield from _wrapped(note, 0, hang=2)
            yield ""
        yield f"experiment {found.name}, version {found.version}"
        yield from _wrapped(_about(found), 2)
        if found.reference:
            yield f"  reference: {found.reference}"
        yield "params:"
        for spec in found.params:
            yield from _field(spec, with_default=True)
        for rule in found.constraints:
            yield f"  must hold: {rule}"
        if found.learns:
            yield "metrics: what the function returns; rows say which there are"
        else:
            yield "metrics:"
        for spec in (*found.metrics, *found.arrays):
            yield from _field(spec, with_default=False)
        if not found.takes_seed:
            yield "  (it takes no seed: one run a point)"

    def to_dict(self) -> dict[str, Any]:
        """Name, version, reference, params, metrics, arrays, constraints; the sweep's file."""
        found = self.experiment
        told = {
            "experiment": found.name,
            "version": found.version,
            "about": _about(found),
            "reference": found.reference,
            "params": [{**_plain(s), **_default(s)} for s in found.params],
            "constraints": list(found.constraints),
            "metrics": [_plain(s) for s in found.metrics],
            "arrays": [_plain(s) for s in found.arrays],
            "fuse_over": list(found.fuse_over),
            "has_cost": found.cost is not None,
        }
        if self.sweep is not None:
            told["sweep"] = {
                "name": self.sweep.name,
                "file": str(self.sweep.path),
                "question": self.sweep.question,
                "presets": list(self.sweep.presets),
                "notes": list(self.notes),
            }
        return told


def _about(experiment: Experiment) -> str:
    text = inspect.getdoc(experiment.function) or ""
    return " ".join(text.split("\n\n")[0].split())


def _range(spec: FieldSpec) -> str:
    signs = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
    bounds = [(sign, getattr(spec.info, name)) for name, sign in signs]
    return ", ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


def _plain(spec: FieldSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "type": spec.type_name,
        "range": _range(spec),
        "unit": spec.info.unit,
        "meaning": spec.info.meaning,
    }


def _default(spec: FieldSpec) -> dict[str, Any]:
    """The default as a sweep would write it; no key where the param has to be given."""
    if not spec.has_default:
        return {}
    value = spec.default
    return {"default": list(value) if isinstance(value, tuple) else value}


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str({None: "null", True: "true", False: "false"}[value])
    return "[" + ", ".join(map(_shown, value)) + "]" if isinstance(value, list) else str(value)


def _field(spec: FieldSpec, *, with_default: bool) -> Iterator[str]:
    head = [f"{spec.name}: {spec.type_name}"]
    if bounds := _range(spec):
        head.append(bounds)
    if with_default:
        told = _default(spec)
        head.append(f"default {_shown(told['default'])}" if told else "must be given")
    if spec.info.unit not in ("", "1"):
        head.append(f"in {spec.info.unit}")
    yield from _wrapped("; ".join(head), 2, hang=6)
    yield from _wrapped(spec.info.meaning, 6)


def _wrapped(text: str, indent: int, hang: int | None = None) -> Sequence[str]:
    later = " " * (indent if hang is None else hang)
    return textwrap.wrap(text, _WIDTH, initial_indent=" " * indent, subsequent_indent=later)


@verb(40, short_help="An experiment: its params, defaults, units and metrics.", only_prints=True)
@click.argument("name", metavar="EXPERIMENT|SWEEP")
def describe(name: str) -> Described:
    """An experiment: what it is, its params with defaults, ranges and units, its metrics.

    EXPERIMENT is a name, module:function or file.py:function.  Of a SWEEP, what it asks, and then
    its experiment.
    """
    from lawsweep.config.compose import load_sweep
    from lawsweep.config.files import sweep_names
    from lawsweep.config.project.catalogue import entry
    from lawsweep.core.errors import UnknownNameError, nearest
    from lawsweep.core.registry import experiment_names, find_experiment
    from lawsweep.study.code.lacking import code_notes
    from lawsweep.study.study import Study

    if name not in experiment_names() and ":" not in name:
        if name in sweep_names() or name.endswith((".yaml", ".yml")):
            study = Study(load_sweep(name))
            return Described(study.plan.experiment, entry(name), list(code_notes(study)))
        known = [*experiment_names(), *sweep_names()]
        close = nearest(name, known)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise UnknownNameError(
            f"There is no experiment or sweep {name!r}.{hint} `lawsweep list` names them all; your "
            "own is written module:function."
        )
    return Described(find_experiment(name), None)
