"""What ``executor=ray_local`` and ``executor=ray_cluster`` take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.expressions.expression import Expression
from lawsweep.core.options import check_options, read_options
from lawsweep.core.protocols import ExecutorOptions
from lawsweep.core.schema import Field
from lawsweep.core.secrets import HIDDEN
from lawsweep.executors.ray.nodes import AUTO


@dataclass(frozen=True, kw_only=True)
class RayOptions(ExecutorOptions):
    """What both take.  A task holds ``cpus_per_task`` and ``gpus_per_task``, numbers or expressions
    over the params (``4 if n_samples > 5000 else 1``); numerical threads follow the CPUs.
    ``gpus_per_task`` may be ``auto``: as many tasks share a GPU as fit into its memory.
    """

    cpus_per_task: Annotated[float | str, Field("CPUs that a task holds", ge=0)] = 1
    gpus_per_task: Annotated[float | str, Field("GPUs that a task holds", ge=0)] = 0
    gpu_memory_bytes: Annotated[
        float | None, Field("of a GPU, for auto; null: asked of the nodes", unit="byte", gt=0)
    ] = None
    runtime_env: Annotated[Mapping[str, Any] | None, Field("what Ray gives its workers")] = None
    shards: Annotated[Mapping[str, Any] | None, Field("what a run may spread over")] = None

    def refuse_hidden(self) -> None:
        """Raise InvalidValueError for a value that a record has left out as a secret."""
        given = (self.runtime_env or {}).get("env_vars") or {}
        hidden = [name for name, value in given.items() if value == HIDDEN]
        if hidden:
            raise InvalidValueError(
                f"The value of executor.runtime_env.env_vars.{hidden[0]} was left out of the "
                "record that this sweep was read from. Give it: "
                f"executor.runtime_env.env_vars.{hidden[0]}=..."
            )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("cpus_per_task", "gpus_per_task"):
            value = getattr(self, name)
            if isinstance(value, str) and (name, value) != ("gpus_per_task", AUTO):
                Expression(value)  # its params, and its answers, are checked with the plan
        gpus = self.gpus_per_task
        if isinstance(gpus, float) and gpus > 1 and gpus != int(gpus):
            raise InvalidValueError(
                f"executor.gpus_per_task must be a fraction up to 1, or whole, got {gpus!r}."
            )
        if self.cpus_per_task == 0 and not gpus:
            raise InvalidValueError(
                "executor.cpus_per_task must be above 0 where no GPU is asked for, got 0."
            )
        if self.shards is not None:
            read_shards(self.shards)


@dataclass(frozen=True, kw_only=True)
class LocalOptions(RayOptions):
    """Options of ``executor=ray_local``."""

    n_cpus: Annotated[int | None, Field("of this machine; null: what we may use", ge=1)] = None
    n_gpus: Annotated[int | None, Field("of this machine; null: what Ray detects", ge=0)] = None


@dataclass(frozen=True, kw_only=True)
class ClusterOptions(RayOptions):
    """Options of ``executor=ray_cluster``."""

    address: Annotated[str | None, Field("host:port; null: RAY_ADDRESS, or auto")] = None


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """``executor.shards``: ``n`` shards, of which each but the first holds as much.

    ``patience_s``: how long to wait for room that other runs hold.  ``exchange``: how they add up
    what is large, by way of the first one (``host``) or among themselves (``collective``: gloo, or
    NCCL on GPUs).  ``timeout_s``: where they do so, how long they wait there for one another; then
    the attempt is lost, and the run is tried again.
    """

    n: Annotated[int, Field("how many", ge=1)]
    cpus: Annotated[float, Field("CPUs", ge=0)] = 1
    gpus: Annotated[float, Field("GPUs", ge=0)] = 0
    memory_bytes: Annotated[float, Field("memory", ge=0)] = 0
    patience_s: Annotated[float, Field("wait for room", unit="s", ge=0)] = 3600.0
    exchange: Annotated[Literal["host", "collective"], Field("how sums are made")] = "host"
    timeout_s: Annotated[float, Field("of a sum among the shards", unit="s", gt=0)] = 120.0

    def __post_init__(self) -> None:
        check_options(self, "executor.shards")
        if self.n > 1 and not (self.cpus or self.gpus):
            raise InvalidValueError(
                f"executor.shards needs cpus or gpus above 0, got cpus={self.cpus!r}, "
                f"gpus={self.gpus!r}."
            )


def read_shards(given: Any) -> ShardOptions:
    """``executor.shards``, checked.  Raises UnknownNameError, InvalidValueError."""
    return read_options(ShardOptions, given, "executor.shards")
