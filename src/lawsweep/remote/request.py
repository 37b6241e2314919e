"""What is sent to a job server: the command, its environment, and what must hold for both."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep import __version__
from lawsweep.core.errors import InvalidValueError
from lawsweep.grid.sweep import Sweep
from lawsweep.launch.record.driver_job import VARIABLE
from lawsweep.remote.server import STOP_WAIT_S
from lawsweep.remote.shipping import Shipment

if TYPE_CHECKING:
    pass

# Text that Hydra's grammar takes as it stands.
_PLAIN = re.compile(r"[A-Za-z0-9_/.:\-]+\Z")


def check_sendable(sweep: Sweep) -> None:
    """Raise InvalidValueError for a sweep that no driver elsewhere could load and run."""
    if not sweep.config:
        raise InvalidValueError(
            f"The sweep {sweep.name} was built in Python, and a job loads it by name: write it to "
            "a file under sweeps/, and load it with lawsweep.load_sweep."
        )
    if sweep.executor.get("kind") != "ray_cluster":
        raise InvalidValueError(
            f"A job's driver joins the cluster it runs on, so executor must be ray_cluster, got "
            f"{sweep.executor.get('kind')!r}. Leave executor out, or load the sweep with "
            "executor=ray_cluster."
        )


def words(sweep: Sweep, target: str) -> list[str]:
    """The driver's command: the overrides as typed, with the results folder made absolute."""
    kept = [o for o in sweep.overrides if o.partition("=")[0].lstrip("+") != "results_dir"]
    return ["lawsweep", "run", target, *kept, hydra_override("results_dir", sweep.results_dir)]


def hydra_override(key: str, value: str) -> str:
    """``key=value`` in Hydra's grammar, quoted where the value needs it."""
    if _PLAIN.match(value):
        return f"{key}={value}"
    # A backslash is itself there, but before a quote.
    quoted = re.sub(r"(\\*)'", r"\1\1\\'", value)
    trailing = re.search(r"\\*\Z", quoted)
    return f"{key}='{quoted}{trailing[0] if trailing else ''}'"


def called(target: str, sweep: Sweep, results: str) -> str:
    """The sweep as attach, logs, status and cancel find it again: what to type after the verb.

    ``results``: its results folder as the driver has it, absolute.  Left out where the sweep by
    its name alone has its results in ``results``, as most do.
    """
    given = any(o.partition("=")[0].lstrip("+") == "results_dir" for o in sweep.overrides)
    asking = sweep.asking if sweep.variant else ()
    if sweep.results_dir == "results" and not given and sweep.preset is None:
        return shlex.join([target, *asking])
    return shlex.join([target, *asking, hydra_override("results_dir", results)])


def make(
    job: str, sweep: str, command: list[str], folder: Path, shipment: Shipment | None
) -> dict[str, Any]:
    """Arguments of Ray's ``submit_job``; the packed working folder is added when it is packed.

    The driver asks for no CPU: it would wait for one on a head that computes, and has none on a
    head that does not.  Ray puts it on the head.
    """
    # exec: the signal that stops the job is the driver's, not a shell's.
    entrypoint = f"exec {shlex.join(command)}"
    if shipment is None:
        entrypoint = f"cd {shlex.quote(str(folder))} && {entrypoint}"
    return {
        "submission_id": job,
        "entrypoint": entrypoint,
        "entrypoint_num_cpus": 0,
        "runtime_env": {
            "env_vars": {
                VARIABLE: f"{sweep}/{job}",
                "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S),
                "RAY_USAGE_STATS_ENABLED": "0",
            }
        },
        "metadata": {"lawsweep": __version__, "sweep": sweep},
    }


def notes(sweep: Sweep, target: str, shipment: Shipment | None) -> tuple[str, ...]:
    """What may be missing on the cluster.  Raises InvalidValueError for what will be."""
    if shipment is None:
        return ()
    place, _, function = target.rpartition(":")
    if function.isidentifier() and _is_path(place) and not Path(place).is_absolute():
        _check_along(Path(place), shipment, "experiment's file")
    elif _is_path(target):
        _check_along(Path(target), shipment, "sweep file")
    for suffix in (".yaml", ".yml"):
        own = Path("sweeps", f"{target}{suffix}")
        if (shipment.folder / own).is_file():
            _check_along(own, shipment, "sweep file")
    module = sys.modules.get(sweep.find_experiment().function.__module__)
    file = Path(getattr(module, "__file__", None) or sys.prefix).resolve()
    installed = (Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[2])
    if any(file.is_relative_to(p.resolve()) for p in installed):
        return ()  # of a package, which the cluster's environment has too
    if file.is_relative_to(shipment.folder.resolve()):
        _check_along(file.relative_to(shipment.folder.resolve()), shipment, "experiment's file")
        return ()
    return (
        f"the experiment's file {file.name} is not in the working folder, so it does not go "
        "along: every node must be able to import it",
    )


def _is_path(target: str) -> bool:
    return target.endswith((".yaml", ".yml", ".py")) or "/" in target


def _check_along(path: Path, shipment: Shipment, what: str) -> None:
    """Raise unless a file is among those that go along."""
    if path.as_posix() not in shipment.files:
        raise InvalidValueError(
            f"The {what} {path} does not go along with the working folder {shipment.folder}. "
            "Start from a folder that has it, name it by a path from there, and do not --exclude "
            "it; or use --no-ship where the cluster sees this folder."
        )
