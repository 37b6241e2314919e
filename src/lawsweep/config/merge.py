"""What Hydra composes: the base config, its groups, conf/experiment, the sweep file, its preset."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from lawsweep.config.application.callers_hydra import set_aside, stored
from lawsweep.config.axes_of import axes_of, names_of
from lawsweep.config.files import data_folder, own_and_shipped
from lawsweep.config.overrides import Override
from lawsweep.config.presets import GROUPS
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.plugins import unknown
from lawsweep.core.registry import find_experiment
from lawsweep.executors.make import executor_names

Nodes = dict[tuple[str, str], tuple[Any, str | None]]  # group and name to node and package


@set_aside()
def merge_files(
    name: str,
    experiment: Any,
    parts: tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]],
    groups: Sequence[Override],
    resolve: Callable[[str], Any],
) -> dict[str, Any]:
    """What Hydra composes for a sweep, with interpolations as they are written.

    ``parts`` are the project's defaults, the sweep file and its preset, ``groups`` the overrides
    that choose members of groups.  Raises a LawsweepError.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    own, shipped = Path.cwd() / "conf", data_folder("conf").resolve()
    nodes: Nodes = {}
    choices, settings = _group_choices(parts, groups, resolve)
    for group, member in choices.items():
        _check_member(own / group / f"{member}.yaml", shipped / group / f"{member}.yaml")
        if not any((f / group / f"{member}.yaml").is_file() for f in own_and_shipped("conf")):
            nodes[group, member] = {"kind": member}, None  # another package's
    chosen = [f"{key}={value}" for key, value in choices.items()] + _without_an_application()
    has_own = own.is_dir() and own.resolve() != shipped
    if has_own:
        chosen.append(f"hydra.searchpath=['file://{own.resolve()}']")
    rest = [{k: v for k, v in part.items() if k not in GROUPS} for part in parts]
    project, file, preset = rest

    def add(group: str, node: Mapping[str, Any]) -> None:
        nodes[f"lawsweep_{group}", "this"] = dict(node), "_global_"
        chosen.append(f"+lawsweep_{group}=this")

    add("project", project)
    for member in _experiment_members(experiment):
        chosen.append(f"+experiment@_global_='{member}'")  # with a header or without
    add("file", file)
    add("preset", {**preset, **settings})
    try:
        # A list of defaults may name what a module of the user's has put into Hydra's store.
        if has_own or any("defaults" in part for part in parts):
            found = _composed(shipped, nodes, chosen)
        else:
            question = pickle.dumps((nodes, chosen))
            found = pickle.loads(_composed_before(shipped, _state_of(shipped), question))
    except (HydraException, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())[:300]
        raise InvalidValueError(
            f"Cannot compose sweep {name}: {reason.rstrip('.')}. Correct the file or the override."
        ) from None
    return _first_said({str(k): v for k, v in found.items()}, (file, preset))


def _composed(folder: Path, nodes: Nodes, chosen: Sequence[str]) -> dict[Any, Any]:
    """Hydra's answer, with what ``nodes`` has beside the files of the folder."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    made = {key: (OmegaConf.create(node), package) for key, (node, package) in nodes.items()}
    with stored(made), initialize_config_dir(config_dir=str(folder), version_base="1.3"):
        found = OmegaConf.to_container(compose(config_name="config", overrides=list(chosen)))
    assert isinstance(found, dict)
    return found


@lru_cache(maxsize=64)
def _composed_before(folder: Path, state: Any, question: bytes) -> bytes:
    """Hydra's answer where nothing but the folder and the question decides it: 50 ms once.

    A notebook opens the same sweep again and again.  Pickled, so that no one changes another's.
    """
    return pickle.dumps(_composed(folder, *pickle.loads(question)))


def _state_of(folder: Path) -> tuple[Any, ...]:
    """What changes when a file in the folder does."""
    stats = ((str(path), path.stat()) for path in sorted(folder.rglob("*.yaml")))
    return tuple((path, stat.st_mtime_ns, stat.st_size) for path, stat in stats)


@cache
def _without_an_application() -> list[str]:
    """Overrides that leave out what Hydra loads for a program of its own: half of the time.

    Its launcher, sweeper, help and logging go with the rest of ``hydra``, of which nothing is kept.
    """
    from hydra.conf import HydraConf

    groups = [g for entry in HydraConf().defaults for g, member in entry.items() if member]
    return [f"hydra/{group}=[]" for group in groups]


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
    parts: Sequence[Mapping[str, Any]],
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
        levels = [part.get(key) for part in parts]
        levels += [o.value for o in groups if o.path == (key,)]
        names = {p.stem for f in own_and_shipped("conf") for p in (f / key).glob("*.yaml")}
        for level in levels:
            if level is None:
                continue
            name = level.get("kind") if isinstance(level, Mapping) else level
            name = resolve(name) if isinstance(name, str) and "${" in name else name
            if isinstance(level, Mapping) and (name is None or name == choices.get(key)):
                settings.setdefault(key, {}).update({str(k): v for k, v in level.items()})
                continue
            if not isinstance(name, str):
                raise InvalidValueError(f"{key} must be a name or a mapping, got {level!r}.")
            if key == "executor" and name not in names:
                names |= set(executor_names())  # another package's, without a file
            if name not in names:
                raise unknown(f"lawsweep.{key}s", name, names, key)
            choices[key] = name
            settings[key] = {**level, "kind": name} if isinstance(level, Mapping) else {}
    return choices, settings
