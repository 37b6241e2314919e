"""Executors by name, from the ``executor`` entry of a config."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.protocols import Executor

KINDS = ("serial", "ray_local", "ray_cluster")


def make_executor(config: Mapping[str, Any] | str) -> Executor:
    """The executor a config asks for, not started.  Raises UnknownNameError, InvalidValueError."""
    if not isinstance(config, str | Mapping):
        raise InvalidValueError(f"executor must be a name or a mapping, got {config!r}.")
    options: dict[str, Any] = {"kind": config} if isinstance(config, str) else dict(config)
    kind = options.pop("kind", "ray_local")
    if kind not in KINDS:
        raise unknown_name("executor", str(kind), KINDS)
    if kind == "serial":
        from lawsweep.executors.serial import SerialExecutor

        _check("serial", options, SerialExecutor)
        _check_fusing(options)
        return SerialExecutor(**{**options, "device": str(options.get("device", "cpu"))})
    from lawsweep.executors.ray.tasks import RayExecutor

    _check(kind, options, RayExecutor)
    _check_fusing(options)
    for name in ("n_cpus", "n_gpus", "cpus_per_task", "gpus_per_task"):
        value = options.get(name)
        if isinstance(value, str) and value.strip() and name.endswith("_per_task"):
            continue  # an expression over the params: read by the executor, checked at every point
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or value < 0
        ):
            raise InvalidValueError(f"executor.{name} must be a number from 0, got {value!r}.")
    gpus = options.get("gpus_per_task") or 0
    if not isinstance(gpus, str) and gpus > 1 and gpus != int(gpus):
        raise InvalidValueError(
            f"executor.gpus_per_task must be a fraction up to 1, or whole, got {gpus!r}."
        )
    if options.get("cpus_per_task") == 0 and not gpus:
        raise InvalidValueError("executor.cpus_per_task must be above 0 where no GPU is asked for.")
    if not isinstance(options.get("address"), str | None):
        raise InvalidValueError(
            f"executor.address must be host:port or auto, got {options['address']!r}."
        )
    if not isinstance(options.get("runtime_env"), Mapping | None):
        raise InvalidValueError(
            "executor.runtime_env must be a mapping, got a "
            f"{type(options['runtime_env']).__name__}."
        )
    if not isinstance(options.get("shards"), Mapping | None):
        raise InvalidValueError(
            f"executor.shards must be a mapping such as {{n: 4}}, got {options['shards']!r}."
        )
    return RayExecutor(kind, **options)


def _check_fusing(options: Mapping[str, Any]) -> None:
    if not isinstance(options.get("fuse", True), bool):
        raise InvalidValueError(f"executor.fuse must be true or false, got {options['fuse']!r}.")
    most = options.get("max_fused", 1)
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise InvalidValueError(
            f"executor.max_fused must be a whole number from 1, got {most!r}; "
            "executor.fuse=false has every run alone."
        )


def _check(kind: str, options: Mapping[str, Any], cls: type) -> None:
    valid = [n for n in inspect.signature(cls).parameters if n != "kind"]
    for name in options:
        if name not in valid:
            raise unknown_name("option", name, valid, f"executor {kind}")
