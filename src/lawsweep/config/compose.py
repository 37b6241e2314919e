"""From a sweep's name and overrides to a Sweep.  The only module that composes with Hydra.

The data's way: conf/config.yaml and its groups, conf/experiment/<name>.yaml, the sweep file, its
preset (these four Hydra merges, once), then the overrides, then plain Python.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import lawsweep
from lawsweep.config.applicable import applicable
from lawsweep.config.axes_of import axes_of, names_of
from lawsweep.config.interpolations import check_interpolations
from lawsweep.config.overrides import (
    Override,
    apply_override,
    check_key,
    check_written,
    parse_override,
)
from lawsweep.config.points_entry import with_points
from lawsweep.config.presets import GROUPS, check_part, preset_of, under
from lawsweep.config.questions import file_identity, signature
from lawsweep.core.errors import InvalidValueError, StoreError, UnknownNameError, unknown_name
from lawsweep.core.registry import find_experiment
from lawsweep.core.schema import FieldSpec
from lawsweep.core.secrets import learn_override
from lawsweep.grid.points import MAX_POINTS
from lawsweep.grid.sweep import Sweep

_SUFFIXES = (".yaml", ".yml")
# Overrides that may take away what a fit or figure is about.
_OF_THE_GRID = ("params", "axes", "derive", "where", "seeds", "experiment")


def data_folder(name: str) -> Path:
    """``conf`` or ``sweeps`` as shipped: inside the wheel, or at the root of a checkout."""
    package = Path(lawsweep.__file__).resolve().parent
    shipped = package / "_data" / name
    return shipped if shipped.is_dir() else package.parents[1] / name


def sweep_folders() -> list[Path]:
    """Where sweeps are looked for by name: the working folder's first."""
    return _own_and_shipped("sweeps")


def _own_and_shipped(name: str) -> list[Path]:
    own, shipped = Path.cwd() / name, data_folder(name)
    return [p for p in dict.fromkeys((own.resolve(), shipped.resolve())) if p.is_dir()]


def sweep_names() -> list[str]:
    """Names of the sweeps that can be asked for."""
    return sorted({p.stem for f in sweep_folders() for p in f.iterdir() if p.suffix in _SUFFIXES})


def find_sweep_file(name: str) -> Path:
    """The file of a sweep given by name or by path.  Raises UnknownNameError."""
    if name.endswith(_SUFFIXES) or "/" in name:
        path = Path(name)
        if path.is_file():
            return path
        raise UnknownNameError(f"There is no sweep file {name}. Check the path.")
    for folder in sweep_folders():
        for suffix in _SUFFIXES:
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
    places = " or ".join(str(f) for f in sweep_folders())
    error = unknown_name("sweep", name, sweep_names())
    raise UnknownNameError(f"{error} Looked in {places}; a path to a YAML file works too.")


def load_sweep(name: str | Path, *overrides: str) -> Sweep:
    """The Sweep of a name or path, composed with overrides in Hydra's grammar.

    Raises a LawsweepError with one clear sentence for anything misspelt or malformed.
    """
    for text in overrides:
        learn_override(str(text))
    path = find_sweep_file(str(name))
    content = _read_yaml(path)
    presets = content.pop("presets", None) or {}
    check_part(content, f"sweep file {path}")
    parsed = [parse_override(text) for text in overrides]
    for override in parsed:
        check_key(override)
    own_preset = content.get("preset")
    preset = _choice(parsed, "preset", own_preset)
    chosen = preset_of(presets, preset, path)
    own_experiment = chosen.get("experiment", content.get("experiment"))
    experiment = _choice(parsed, "experiment", own_experiment)
    limit = _limit(content, chosen, parsed)
    content["axes"] = with_points(content.get("axes"), experiment, limit)
    if "axes" in chosen:
        chosen["axes"] = with_points(chosen["axes"], experiment, limit)
    before = {*names_of(content), *names_of(chosen)}
    content, chosen = under(content, chosen, experiment)
    # `executor=serial` and `executor.kind=serial` both choose the group's member.
    parsed = [
        dataclasses.replace(o, path=o.path[:1])
        if o.path[0] in GROUPS and o.path[1:] == ("kind",)
        else o
        for o in parsed
    ]
    groups = [o for o in parsed if o.path[0] in GROUPS and len(o.path) == 1]
    config = _compose(path.stem, experiment, content, chosen, groups)
    base = {**config, "preset": own_preset, "experiment": own_experiment}
    rest = [o for o in parsed if o not in groups]
    fields = fields_of(experiment, rest)
    config, notes = with_overrides(base, rest, fields)
    variant = signature(base, config, rest, lambda some: with_overrides(base, some, fields)[0])
    # The points themselves go into the record: a file may change under a sweep.
    config["axes"] = with_points(config.get("axes"), experiment, limit)
    file = file_identity(path, data_folder("sweeps"))
    sweep = Sweep.from_mapping(path.stem, config, tuple(overrides), variant=variant, file=file)
    if preset is None and not any(o.path[0] in _OF_THE_GRID for o in parsed):
        return sweep
    return applicable(dataclasses.replace(sweep, notes=notes), before)


def fields_of(experiment: Any, overrides: Sequence[Override]) -> dict[str, FieldSpec]:
    """The params of the experiment, where the overrides ask for them."""
    if isinstance(experiment, str) and any(
        o.path[0] in ("params", "axes", "derive") for o in overrides
    ):
        return {s.name: s for s in find_experiment(experiment).params}
    return {}


def with_overrides(
    config: Mapping[str, Any], overrides: Sequence[Override], fields: Mapping[str, FieldSpec]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A composed config with overrides applied in order, and what is to be said of them."""
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
    return found, tuple(notes)


def _limit(
    content: Mapping[str, Any], chosen: Mapping[str, Any], parsed: Sequence[Override]
) -> int:
    """``max_points``, before anything is composed; what is no number is refused there."""
    value = _choice(parsed, "max_points", chosen.get("max_points", content.get("max_points")))
    return value if isinstance(value, int) and not isinstance(value, bool) else MAX_POINTS


def _choice(parsed: Sequence[Override], key: str, otherwise: Any) -> Any:
    for override in parsed:
        if override.path == (key,):
            if override.is_sweep:
                raise InvalidValueError(
                    f"The override {override.text!r} names several; launch once for each."
                )
            otherwise = override.value
    return otherwise


def _read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as plain containers; interpolations stay for the composed config."""
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from lawsweep.store.exchange.yaml_text import read_yaml

    try:
        read = read_yaml(path.read_text(encoding="utf-8"))
        found = OmegaConf.to_container(OmegaConf.create({} if read is None else read))
    except InvalidValueError as error:
        raise InvalidValueError(f"{path} {error}") from None
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InvalidValueError(f"{path}{line} is not YAML: {error.problem}.") from None
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise InvalidValueError(f"{path} is not YAML: {str(error).splitlines()[0]}.") from None
    except OSError as error:
        raise StoreError(f"Cannot read {path}: {error.strerror}.") from None
    if not isinstance(found, dict):
        raise InvalidValueError(f"{path} must be a mapping with the key experiment, got {found!r}.")
    return found  # type: ignore[return-value]


def _compose(
    name: str,
    experiment: Any,
    content: Mapping[str, Any],
    preset: Mapping[str, Any],
    groups: Sequence[Override],
) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    own, shipped = Path.cwd() / "conf", data_folder("conf")
    folders = _own_and_shipped("conf")
    choices, settings = _group_choices(content, preset, groups, folders)
    for group, member in (*choices.items(), ("experiment", experiment)):
        _check_member(own / group / f"{member}.yaml")
    chosen = [f"{key}={value}" for key, value in choices.items()]
    if own.is_dir() and own.resolve() != shipped.resolve():
        chosen.append(f"hydra.searchpath=['file://{own.resolve()}']")
    store = ConfigStore.instance()
    if isinstance(experiment, str) and any(
        (f / "experiment" / f"{experiment}.yaml").is_file() for f in folders
    ):
        chosen.append(f"+experiment={experiment}")
    for group, node in (("lawsweep_sweep", content), ("lawsweep_preset", preset)):
        plain = {k: v for k, v in node.items() if k not in GROUPS}
        store.store(group=group, name="this", node=OmegaConf.create(plain), package="_global_")
        chosen.append(f"+{group}=this")
    GlobalHydra.instance().clear()  # a notebook may have left one initialised
    try:
        with initialize_config_dir(config_dir=str(shipped.resolve()), version_base="1.3"):
            composed = compose(config_name="config", overrides=chosen)
        check_interpolations(cast("dict[str, Any]", OmegaConf.to_container(composed)))
        found = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException, InvalidValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InvalidValueError(f"Cannot compose sweep {name}: {reason}") from None
    assert isinstance(found, dict)
    for key, values in settings.items():
        found[key] = {**(found.get(key) or {}), **values}
    # An empty environment variable counts as unset.
    found["results_dir"] = found.get("results_dir") or "results"
    return {str(k): v for k, v in found.items()}


def _member_of_a_package(group: str, name: str, files: set[str]) -> None:
    """An executor of another package needs no file: its own options have the defaults."""
    from hydra.core.config_store import ConfigStore

    from lawsweep.executors.make import executor_names

    known = {*files, *(executor_names() if group == "executor" else ())}
    if name not in known:
        raise unknown_name(group, name, known)
    ConfigStore.instance().store(group=group, name=name, node={"kind": name})


def _check_member(path: Path) -> None:
    """Refuse what Hydra would read otherwise than it is written, in a file of the user's."""
    import yaml

    from lawsweep.store.exchange.yaml_text import check_yaml

    if not path.is_file():
        return
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
    folders: Sequence[Path],
) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Which member of each group is chosen, and the single settings on top of it.

    Levels in order: sweep file, preset, command line.  A name starts afresh; a mapping changes
    settings of what was chosen below, or (``kind: serial``) also chooses.
    """
    choices: dict[str, str] = {}
    settings: dict[str, dict[str, Any]] = {}
    for key in GROUPS:
        levels = [content.get(key), preset.get(key), *(o.value for o in groups if o.path == (key,))]
        names = {p.stem for f in folders for p in (f / key).glob("*.yaml")}
        for level in levels:
            if level is None:
                continue
            name = level.get("kind") if isinstance(level, Mapping) else level
            if isinstance(level, Mapping) and (name is None or name == choices.get(key)):
                settings.setdefault(key, {}).update({str(k): v for k, v in level.items()})
                continue
            choices[key] = str(name)
            if name not in names:
                _member_of_a_package(key, choices[key], names)
            settings[key] = dict(level) if isinstance(level, Mapping) else {}
    return choices, settings
