"""From a sweep's name and overrides to a Sweep.

The data's way: conf/config.yaml and its groups, conf/experiment/<name>.yaml, the sweep file, its
preset (these Hydra composes, once a launch), then the overrides, in order: those of params and
axes change what spans the grid (``config/overrides.py``), the others set a key.  Then, and not
before, every interpolation is looked at, so that it means what the overrides say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lawsweep.config.applicable import applicable
from lawsweep.config.application.record import chosen_points, is_kept, kept_config
from lawsweep.config.axes_of import axes_of, names_of
from lawsweep.config.files import data_folder, find_sweep_file, read_sweep_file, sweep_names
from lawsweep.config.interpolations import leave_out, resolve, resolve_text
from lawsweep.config.merge import merge_files
from lawsweep.config.overrides import (
    Override,
    apply_override,
    check_key,
    check_written,
    parse_override,
)
from lawsweep.config.presets import GROUPS, check_part, preset_of, under
from lawsweep.config.project.defaults import project_defaults
from lawsweep.config.questions import file_identity, signature
from lawsweep.config.targets import beside, is_target, of_params, target_identity
from lawsweep.config.written_out import WrittenOut
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.registry import find_experiment
from lawsweep.core.schema import FieldSpec
from lawsweep.core.secrets import learn_override
from lawsweep.executors.make import make_executor
from lawsweep.grid.points import MAX_POINTS
from lawsweep.grid.sweep import NOT_ASKED, Sweep
from lawsweep.sampling.samplers import choose
from lawsweep.store.options import read_store

# Overrides that may take away what a fit or figure is about.
_OF_THE_GRID = ("params", "axes", "derive", "where", "seeds", "experiment")


def load_sweep(name: str | Path, *overrides: str) -> Sweep:
    """The Sweep of a name or path, composed with overrides in Hydra's grammar.

    Raises a LawsweepError with one clear sentence for anything misspelt or malformed.
    """
    for text in overrides:
        learn_override(str(text))
    if is_target(str(name)):
        called, file = target_identity(str(name))
        path, content = Path(called), {"experiment": str(name)}
        params = find_experiment(str(name)).names
        overrides = tuple(of_params(text, params) for text in overrides)
    elif (kept := load_kept(str(name), overrides)) is not None:
        return kept
    else:
        path = find_sweep_file(str(name))
        content, file = read_sweep_file(path), file_identity(path, data_folder("sweeps"))
    parts = _Parts(path, content, [_parsed(text) for text in overrides])
    for override in parts.overrides:
        check_key(override, parts.specs)
    groups = [o for o in parts.overrides if o.path[0] in GROUPS and len(o.path) == 1]
    rest = [o for o in parts.overrides if o not in groups]
    content, preset = under(parts.file, parts.preset, parts.experiment)
    levels = (parts.project, content, preset)
    base = merge_files(path.stem, parts.experiment, levels, groups, parts.resolve)
    base |= parts.own
    fields = fields_of(parts, rest)
    config, notes = with_overrides(base, rest, fields, parts.written.write)
    try:
        try:
            config = resolve(config, parts.specs)
        except InvalidValueError:
            config, gone = leave_out(config, base, parts.specs)
            config, notes = resolve(config, parts.specs), (*notes, *gone)
    except InvalidValueError as error:
        raise InvalidValueError(f"Cannot compose sweep {path.stem}: {error}") from None

    def asked(some: Sequence[Override]) -> dict[str, Any]:
        found, _ = with_overrides(base, some, fields, parts.written.write)
        found = {k: v for k, v in found.items() if k not in NOT_ASKED}
        try:
            return resolve(found, parts.specs)
        except InvalidValueError:  # it wants another override, or what is not asked
            return found

    variant = signature(rest, asked)
    # The points themselves go into the record: a file may change under a sweep.
    config["axes"] = parts.written.put_back(config.get("axes"))
    # An empty environment variable counts as unset.
    config["results_dir"] = config.get("results_dir") or "results"
    sweep = Sweep.from_mapping(path.stem, config, tuple(overrides), variant=variant, file=file)
    sweep = dataclasses.replace(sweep, asked=str(name))
    make_executor(sweep.executor)
    read_store(sweep.store, sweep.results_dir)
    choose(sweep)
    if parts.chosen is None and not any(o.path[0] in _OF_THE_GRID for o in parts.overrides):
        return dataclasses.replace(sweep, notes=parts.notes)
    return applicable(dataclasses.replace(sweep, notes=(*parts.notes, *notes)), parts.names)


def load_kept(name: str, texts: Sequence[str]) -> Sweep | None:
    """The study of a Hydra application that is called so; None where there is none.

    A sweep file of that name goes before.
    """
    overrides = [_parsed(text) for text in texts]
    if name in sweep_names() or not is_kept(name, overrides):
        return None
    base = kept_config(name, overrides)
    experiment = base.pop("experiment")
    fields = {s.name: s for s in experiment.params}
    for override in overrides:
        check_key(override, lambda: fields)
    points = base["axes"]["points"]

    def under(some: Sequence[Override]) -> tuple[dict[str, Any], tuple[str, ...]]:
        chosen = {**base, "axes": {"points": chosen_points(points, some, fields)}}
        return with_overrides(chosen, [o for o in some if o.path[0] != "params"], fields)

    def asked(some: Sequence[Override]) -> dict[str, Any]:
        return {k: v for k, v in under(some)[0].items() if k not in NOT_ASKED}

    config, notes = under(overrides)
    record = {"experiment": experiment.name, **{k: v for k, v in config.items() if k != "axes"}}
    sweep = Sweep.from_mapping(
        name,
        {**config, "experiment": experiment.name},
        tuple(texts),
        variant=signature(overrides, asked),
    )
    sweep = dataclasses.replace(sweep, experiment=experiment, config=record, notes=notes)
    if not any(o.path[0] in _OF_THE_GRID for o in overrides):
        return sweep
    return applicable(sweep, set(axes_of(base).names))


def _parsed(text: str) -> Override:
    override = parse_override(text)
    # `executor=serial` and `executor.kind=serial` both choose the group's member.
    if override.path[0] in GROUPS and override.path[1:] == ("kind",):
        return dataclasses.replace(override, path=override.path[:1])
    return override


class _Parts:
    """A sweep file and its preset, and what has to be known before they are composed.

    Which preset and experiment is meant, and what blocks of axes stand elsewhere: interpolations
    there see the file, the preset and the params that overrides pin.
    """

    def __init__(self, path: Path, content: dict[str, Any], overrides: Sequence[Override]):
        self.name, self.overrides = path.stem, overrides
        self.file = content
        self.project, self.notes = project_defaults()
        self.preset: dict[str, Any] = {}
        presets = self.file.pop("presets", None) or {}
        check_part(self.file, f"sweep file {path}")
        self.chosen = self._choice("preset")
        self.preset = preset_of(presets, self.chosen, path)
        for part in (self.file, self.preset):
            if "experiment" in part:
                part["experiment"] = beside(part["experiment"], path)
        self.experiment = self._choice("experiment")
        self.command = self._choice("command")
        self.own = {"preset": self.file.get("preset"), "experiment": self._said("experiment")}
        if isinstance(self.experiment, str) and ":" in self.experiment:
            self.specs()  # its module may bring a kind of axes
        limit = self._choice("max_points")
        is_count = isinstance(limit, int) and not isinstance(limit, bool)
        self.written = WrittenOut(self.resolve, self.specs, limit if is_count else MAX_POINTS)
        for part in (self.file, self.preset):
            if part.get("axes") is not None:
                part["axes"] = self.written.write(part["axes"])
        self.names = {*names_of(self.file), *names_of(self.preset)}

    def specs(self) -> Mapping[str, FieldSpec]:
        """The params of the experiment; none where that is not known."""
        if self.command is not None:
            return self._of_command()
        return _specs(self.experiment) if isinstance(self.experiment, str) else {}

    def _of_command(self) -> Mapping[str, FieldSpec]:
        """The params of a command, as the file, the preset and the overrides have them."""
        from lawsweep.core.commands.command import command_experiment

        given: dict[str, Any] = {"params": {}, "derive": {}, "axes": [self.file.get("axes")]}
        for part in (self.file, self.preset):
            for key in ("params", "derive"):
                given[key] |= part.get(key) or {}
        given["axes"] += [self.preset.get("axes")]
        for override in self.overrides:
            if override.path[0] in ("params", "axes", "derive") and len(override.path) == 2:
                given["axes"].append({override.path[1]: override.value})
        made = command_experiment(self.command, self.name, given, Path.cwd(), "results")
        return {s.name: s for s in made.params}

    def _said(self, key: str) -> Any:
        """What the preset says, else the file."""
        return self.preset.get(key, self.file.get(key))

    def _choice(self, key: str) -> Any:
        """What is meant in the end."""
        found = self._said(key)
        for override in self.overrides:
            if override.path == (key,):
                if override.is_sweep:
                    raise InvalidValueError(
                        f"The override {override.text!r} names several; launch once for each."
                    )
                found = override.value
        return self.resolve(found) if isinstance(found, str) and "${" in found else found

    def resolve(self, text: str) -> Any:
        """What an interpolated text stands for, as far as is known by now."""
        params: dict[str, Any] = {}
        for part in (self.file, self.preset):
            params |= part["params"] if isinstance(part.get("params"), Mapping) else {}
        for override in self.overrides:
            if override.path[0] == "params" and len(override.path) == 2 and not override.is_sweep:
                params[override.path[1]] = override.value
        context: dict[str, Any] = {"results_dir": "${oc.env:LAWSWEEP_RESULTS_DIR,results}"}
        context |= {**self.project, **self.file}
        context |= {**self.preset, "params": params, "axes": None}
        try:
            return resolve_text(text, context)
        except InvalidValueError as error:
            raise InvalidValueError(f"Cannot compose sweep {self.name}: {text} {error}") from None


def _specs(experiment: str) -> dict[str, FieldSpec]:
    return {s.name: s for s in find_experiment(experiment).params}


def fields_of(parts: _Parts, overrides: Sequence[Override]) -> Mapping[str, FieldSpec]:
    """The params of the experiment, where the overrides ask for them."""
    asked = any(o.path[0] in ("params", "axes", "derive") for o in overrides)
    return parts.specs() if asked else {}


def with_overrides(
    config: Mapping[str, Any],
    overrides: Sequence[Override],
    fields: Mapping[str, FieldSpec],
    write: Callable[[Any], Any] = lambda axes: axes,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A composed config with overrides applied in order, and what is to be said of them.

    ``write`` writes out the axes that an override gives (see ``WrittenOut``).
    """
    found, notes = dict(config), []
    for override in overrides:
        check_written(override, fields)
        name = override.path[-1]
        others = axes_of(found, fields).together(name) if override.is_sweep else []
        if others and override.path[0] in ("params", "axes"):
            notes.append(
                f"{name} advanced with {', '.join(others)}; each of its new values is combined "
                "with each of theirs"
            )
        found = apply_override(found, override, fields)
        if override.path[0] == "axes":
            found["axes"] = write(found.get("axes"))
    return found, tuple(notes)
