"""What hands that know Hydra (or W&B's sweeps) type, and what it is called here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lawsweep.core.errors import InvalidValueError, UnknownNameError, nearest

# Options of every Hydra application, none of which a verb has.
_OPTIONS = {
    ("-m", "--multirun"): "is not needed: params.lr=0.1,0.01 sweeps as it stands, as in "
    "`lawsweep run SWEEP params.lr=0.1,0.01`",
    ("-r", "--run"): "is not needed: `lawsweep run SWEEP` runs",
    ("--cfg",): "is `lawsweep plan SWEEP`: the runs with their params; `lawsweep plan SWEEP "
    "--json` has the whole answer",
    ("--info",): "is `lawsweep plan SWEEP` for the runs, `lawsweep doctor` for what is installed",
    ("--resolve",): "is not needed: `lawsweep plan SWEEP` shows every param as it will be",
    ("-cn", "--config-name"): "is the first argument: a name under sweeps/ or a path, as in "
    "`lawsweep run sweeps/mine.yaml`",
    ("-cp", "--config-path", "-cd", "--config-dir"): "is not needed: sweeps/ and conf/ of the "
    "working folder are read, and the path to a sweep file works from anywhere",
    ("--hydra-help",): "is `lawsweep --help`, or `lawsweep VERB --help`",
    ("--package",): "has no counterpart: a sweep file is one mapping, with params under params",
}  # fmt: skip

_HYDRA_KEYS = {
    "run": "results_dir=... says where results go",
    "sweep": "results_dir=... says where results go",
    "output_subdir": "results_dir=... says where results go",
    "launcher": "executor=serial, processes or ray_local says where runs are executed",
    "sweeper": "axes, search and until say which runs there are",
    "job": "runs have no folder of their own, and are told apart by their run id",
    "searchpath": "conf/ of the working folder is searched as it is",
    "verbose": "LAWSWEEP_DEBUG=1 shows where an error came from",
    "mode": "params.lr=0.1,0.01 sweeps as it stands",
}
_APPLICATION = "(An application with @hydra.main keeps its own: give it hydra/sweeper=lawsweep.)"


def explain_option(name: str) -> str | None:
    """The sentence for an option of Hydra's that no verb has; None for another."""
    for names, said in _OPTIONS.items():
        if name in names:
            return f"{name}, of Hydra's, {said}."
    return None


def explain_hydra_key(path: tuple[str, ...], text: str) -> UnknownNameError:
    """The error for an override of Hydra's own configuration."""
    group, _, member = path[0].partition("/")
    key = member or (path[1] if len(path) > 1 else "")
    said = _HYDRA_KEYS.get(key.partition("/")[0], "a sweep has keys of its own, such as executor")
    return UnknownNameError(f"{group} in {text!r} is no key of a sweep: {said}. {_APPLICATION}")


def explain_seed(text: str) -> UnknownNameError:
    """The error for ``seed=...``."""
    return UnknownNameError(
        f"Seeds are no param: write seeds=5 for the seeds 0 to 4, or seeds=[3] for seed 3 alone; "
        f"got {text!r}."
    )


def explain_param(
    name: str, text: str, params: Iterable[str], keys: Iterable[str]
) -> UnknownNameError | None:
    """The error for a param that is written without ``params.``; None where none is near.

    Another case or spelling of it counts; a key of a sweep that is as near goes before.
    """
    known = list(params)
    close = [name] if name in known else nearest(name, [*known, *keys], n=1)
    if not close or close[0] not in known:
        return None
    _, sign, value = text.partition("=")
    return UnknownNameError(
        f"Params are written with params.; got {text!r}. Write params.{close[0]}{sign}{value}."
    )


def refuse_defaults(content: Mapping[str, object], place: str) -> None:
    """Raise InvalidValueError for a defaults list."""
    if "defaults" in content:
        raise InvalidValueError(
            f"The {place} has a defaults list, got {content['defaults']!r}. Groups are keys here "
            "(executor: serial, store: local); what sweeps of an experiment share goes into "
            "conf/experiment/NAME.yaml, and variants of one sweep are its presets."
        )
