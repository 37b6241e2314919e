"""From a sweep's name and overrides to a Sweep.

The data's way: conf/config.yaml and its groups, conf/experiment/<name>.yaml, the sweep file, its
preset (these Hydra composes, once a launch), then the overrides, in order: those of params and
axes change what spans the grid (``config/overrides.py``), the others set a key.  Then, and not
before, every interpolation is looked at, so that it means what the overrides say.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lawsweep.config.applicable import applicable
from lawsweep.config.axes_of import axes_of, names_of
from lawsweep.config.files import (
    data_folder,
    find_sweep_file,
    own_and_shipped,
    read_sweep_file,
)
from lawsweep.config.interpolations import resolve, resolve_text
from lawsweep.config.overrides import (
    Override,
    apply_override,
    check_key,
    check_written,
    parse_override,
)
from lawsweep.config.presets import GROUPS, check_part, preset_of, under
from lawsweep.config.questions import file_identity, signature
from lawsweep.config.written_out import WrittenOut
from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.registry import find_experiment
from lawsweep.core.schema import FieldSpec
from lawsweep.core.secrets import learn_override
from lawsweep.executors.make import executor_names, make_executor
from lawsweep.grid.points import MAX_POINTS
from lawsweep.grid.sweep import NOT_ASKED, Sweep
from lawsweep.sampling.samplers import read_search
from lawsweep.store.options import read_store

# Overrides that may take away what a fit or figure is about.
_OF_THE_GRID = ("params", "axes", "derive", "where", "seeds", "experiment")


def load_sweep(name: str | Path, *overrides: str) -> Sweep:
    """The Sweep of a name or path, composed with overrides in Hydra's grammar.

    Raises a LawsweepError with one clear sentence for anything misspelt or malformed.
    """
    for text in overrides:
        learn_override(str(text))
    path = find_sweep_file(str(name))
    content = read_sweep_file(path)
    presets = content.pop("presets", None) or {}
    check_part(content, f"sweep file {path}")
    parsed = [parse_override(text) for text in overrides]
    for override in parsed:
        check_key(override)
    early = _Early(path.stem, content, parsed)
    preset = early.choice("preset")
    chosen = preset_of(presets, preset, path)
    early.part = chosen
    experiment = early.choice("experiment")

    @functools.cache
    def specs() -> Mapping[str, FieldSpec]:
        is_name = isinstance(experiment, str)
        return {s.name: s for s in find_experiment(experiment).params} if is_name else {}

    if isinstance(experiment, str) and ":" in experiment:
        specs()  # its module may bring a kind of axes
    limit = early.choice("max_points")
    is_count = isinstance(limit, int) and not isinstance(limit, bool)
    written = WrittenOut(early.resolve, specs, limit if is_count else MAX_POINTS)
    for part in (content, chosen):
        if part.get("axes") is not None:
            part["axes"] = written.write(part["axes"])
    before = {*names_of(content), *names_of(chosen)}
    own = {"preset": content.get("preset"), "experiment": early.own("experiment")}
    content, chosen = under(content, chosen, experiment)
    # `executor=serial` and `executor.kind=serial` both choose the group's member.
    parsed = [
        dataclasses.replace(o, path=o.path[:1])
        if o.path[0] in GROUPS and o.path[1:] == ("kind",)
        else o
        for o in parsed
    ]
    groups = [o for o in parsed if o.path[0] in GROUPS and len(o.path) == 1]
    composed = _compose(path.stem, experiment, content, chosen, groups, early.resolve)
    base = {**composed, **own}
    rest = [o for o in parsed if o not in groups]
    fields = fields_of(experiment, rest)
    config, notes = with_overrides(base, rest, fields, written.write)
    config = _resolved(path.stem, config, specs)

    def asked(some: Sequence[Override]) -> dict[str, Any]:
        found, _ = with_overrides(base, some, fields, written.write)
        found = {k: v for k, v in found.items() if k not in NOT_ASKED}
        try:
            return resolve(found, specs)
        except InvalidValueError:  # it wants another override, or what is not asked
            return found

    variant = signature(rest, asked)
    # The points themselves go into the record: a file may change under a sweep.
    config["axes"] = written.put_back(config.get("axes"))
    # An empty environment variable counts as unset.
    config["results_dir"] = config.get("results_dir") or "results"
    file = file_identity(path, data_folder("sweeps"))
    sweep = Sweep.from_mapping(path.stem, config, tuple(overrides), variant=variant, file=file)
    make_executor(sweep.executor)
    read_store(sweep.store, sweep.results_dir)
    read_search(sweep.search)
    if preset is None and not any(o.path[0] in _OF_THE_GRID for o in parsed):
        return sweep
    return applicable(dataclasses.replace(sweep, notes=notes), before)


class _Early:
    """What has to be known before anything is composed: which preset, experiment, points files.

    Interpolations there see the sweep file, the preset and the params that overrides pin.
    """

    def __init__(self, name: str, content: Mapping[str, Any], parsed: Sequence[Override]):
        self.name, self.content, self.parsed = name, content, parsed
        self.part: Mapping[str, Any] = {}  # the chosen preset

    def own(self, key: str) -> Any:
        """What the file, or its preset, says."""
        return self.part.get(key, self.content.get(key))

    def choice(self, key: str) -> Any:
        """What is meant in the end."""
        found = self.own(key)
        for override in self.parsed:
            if override.path == (key,):
                if override.is_sweep:
                    raise InvalidValueError(
                        f"The override {override.text!r} names several; launch once for each."
                    )
                found = override.value
        return self.resolve(found) if isinstance(found, str) and "${" in found else found

    def resolve(self, text: str) -> Any:
        """What an interpolated text stands for."""
        context = {"results_dir": "${oc.env:LAWSWEEP_RESULTS_DIR,results}", **self.content}
        context |= self.part
        params: dict[str, Any] = {}
        for part in (self.content, self.part):
            params |= part["params"] if isinstance(part.get("params"), Mapping) else {}
        for override in self.parsed:
            if override.path[0] == "params" and len(override.path) == 2 and not override.is_sweep:
                params[override.path[1]] = override.value
        try:
            return resolve_text(text, {**context, "params": params, "axes": None})
        except InvalidValueError as error:
            raise InvalidValueError(f"Cannot compose sweep {self.name}: {text} {error}") from None


def _resolved(
    name: str, config: Mapping[str, Any], specs: Callable[[], Mapping[str, FieldSpec]]
) -> dict[str, Any]:
    try:
        return resolve(config, specs)
    except InvalidValueError as error:
        raise InvalidValueError(f"Cannot compose sweep {name}: {error}") from None


def fields_of(experiment: Any, overrides: Sequence[Override]) -> dict[str, FieldSpec]:
    """The params of the experiment, where the overrides ask for them."""
    if isinstance(experiment, str) and any(
        o.path[0] in ("params", "axes", "derive") for o in overrides
    ):
        return {s.name: s for s in find_experiment(experiment).params}
    return {}


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


def _compose(
    name: str,
    experiment: Any,
    content: Mapping[str, Any],
    preset: Mapping[str, Any],
    groups: Sequence[Override],
    resolve: Callable[[str], Any],
) -> dict[str, Any]:
    """What Hydra makes of the files, with interpolations as they are written."""
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    own, shipped = Path.cwd() / "conf", data_folder("conf").resolve()
    store = ConfigStore.instance()
    choices, settings = _group_choices(content, preset, groups, resolve)
    for group, member in choices.items():
        _check_member(own / group / f"{member}.yaml", shipped / group / f"{member}.yaml")
        if not any((f / group / f"{member}.yaml").is_file() for f in own_and_shipped("conf")):
            store.store(group=group, name=member, node={"kind": member})  # another package's
    chosen = [f"{key}={value}" for key, value in choices.items()]
    if own.is_dir() and own.resolve() != shipped:
        chosen.append(f"hydra.searchpath=['file://{own.resolve()}']")
    for member in _experiment_members(experiment):
        chosen.append(f"+experiment@_global_='{member}'")  # with a header or without
    parts = [{k: v for k, v in part.items() if k not in GROUPS} for part in (content, preset)]
    for group, node in (("file", parts[0]), ("preset", {**parts[1], **settings})):
        made = OmegaConf.create(node)
        store.store(group=f"lawsweep_{group}", name="this", node=made, package="_global_")
        chosen.append(f"+lawsweep_{group}=this")
    global_hydra = GlobalHydra.instance()
    others = global_hydra.hydra  # a notebook may have one initialised
    global_hydra.clear()
    try:
        with initialize_config_dir(config_dir=str(shipped), version_base="1.3"):
            composed = compose(config_name="config", overrides=chosen)
        found = OmegaConf.to_container(composed)
    except (HydraException, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())[:300]
        raise InvalidValueError(f"Cannot compose sweep {name}: {reason}") from None
    finally:
        GlobalHydra.instance().hydra = others
    assert isinstance(found, dict)
    return _first_said({str(k): v for k, v in found.items()}, parts)


def _experiment_members(experiment: Any) -> list[str]:
    """The members of ``conf/experiment`` for an experiment: by its name, or as it is asked for."""
    folders = [f / "experiment" for f in own_and_shipped("conf")]
    folders = [f for f in folders if f.is_dir()]
    if not isinstance(experiment, str) or not folders:
        return []
    name = find_experiment(experiment).name if ":" in experiment else experiment
    found = [m for m in dict.fromkeys((name, experiment)) for f in folders
             if (f / f"{m}.yaml").is_file()]  # fmt: skip
    for member in found:
        _check_member(*(f / f"{member}.yaml" for f in folders))
    return found


def _first_said(config: dict[str, Any], parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The config where the sweep's own parts decide what is fixed, spanned and derived.

    Of what conf/experiment/<name>.yaml says of a param they otherwise span or fix, nothing is left.
    """
    spanned = {n for part in parts for n in names_of(part)}
    fixed = {str(n) for part in parts for n in part.get("params") or {}}
    derived = {str(n) for part in parts for n in part.get("derive") or {}}
    for key, others in (("params", spanned - fixed), ("derive", (spanned | fixed) - derived)):
        if others & set(config.get(key) or {}):
            config[key] = {k: v for k, v in config[key].items() if k not in others}
    axes = axes_of(config)
    for name in (fixed | derived) - {n for part in parts for n in axes_of(part).names}:
        if axes.has(name):
            axes = axes.without(name)
            config["axes"] = axes.written()
    return config


def _check_member(path: Path, shipped: Path | None = None) -> None:
    """Refuse a file of the user's that Hydra would read otherwise than it is written, or not."""
    import yaml

    from lawsweep.store.exchange.yaml_text import check_yaml

    if not path.is_file():
        return
    if shipped is not None and shipped.is_file() and not shipped.samefile(path):
        raise InvalidValueError(
            f"{path} has the name of a file that comes with lawsweep, which is read in its place. "
            "Call yours otherwise."
        )
    try:
        check_yaml(path.read_text(encoding="utf-8"))
    except InvalidValueError as error:
        raise InvalidValueError(f"{path} {error}") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError):
        return  # Hydra says what is wrong with it


def _group_choices(
    content: Mapping[str, Any],
    preset: Mapping[str, Any],
    groups: Sequence[Override],
    resolve: Callable[[str], Any],
) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Which member of each group is chosen, and the single settings on top of it.

    Levels in order: sweep file, preset, command line.  A name starts afresh; a mapping changes
    settings of what was chosen below, or (``kind: serial``) also chooses.
    """
    choices: dict[str, str] = {}
    settings: dict[str, dict[str, Any]] = {}
    for key in GROUPS:
        levels = [content.get(key), preset.get(key), *(o.value for o in groups if o.path == (key,))]
        names = {p.stem for f in own_and_shipped("conf") for p in (f / key).glob("*.yaml")}
        for level in levels:
            if level is None:
                continue
            name = level.get("kind") if isinstance(level, Mapping) else level
            name = resolve(name) if isinstance(name, str) and "${" in name else name
            if isinstance(level, Mapping) and (name is None or name == choices.get(key)):
                settings.setdefault(key, {}).update({str(k): v for k, v in level.items()})
                continue
            if key == "executor" and name not in names:
                names |= set(executor_names())  # another package's, without a file
            if not isinstance(name, str) or name not in names:
                raise unknown_name(key, str(name), names)
            choices[key] = name
            settings[key] = {**level, "kind": name} if isinstance(level, Mapping) else {}
    return choices, settings
