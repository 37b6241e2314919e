"""A process's connection to Ray: started by it and stopped again, joined, or there before."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from lawsweep.core.errors import ExecutorError
from lawsweep.executors.ray_manners import inherited, own_sigterm, probe, silence_raylet
from lawsweep.executors.reaper import MARK, Reaper

# What the workers of the Ray that this process started have in their environment from birth.
_BORN_WITH: dict[str, str] = {}


class RaySession:
    """Ray for one launch.  ``open`` and ``close`` once each; ``own`` says who made the connection.

    ``kind`` is ``ray_local`` (start one, with ``n_cpus`` and ``n_gpus``) or ``ray_cluster`` (join
    the one at ``address``, by default ``RAY_ADDRESS`` or ``auto``).  Where this process is on a
    Ray already, that one serves.
    """

    def __init__(self, kind: str, address: str | None, n_cpus: int | None, n_gpus: int | None):
        self._kind, self._address = kind, address
        self._n_cpus, self._n_gpus = n_cpus, n_gpus
        self.own = False
        self._ray: Any = None
        self._reaper: Reaper | None = None
        self._unsilence: Callable[[], None] = lambda: None

    def open(self, environment: Mapping[str, str]) -> Any:
        """Connect, and return Ray's module.  A Ray that is started has ``environment`` throughout.

        Raises ExecutorError with one sentence.
        """
        # Before the import: Ray reads these when it is loaded.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError as error:
            raise ExecutorError(
                f"Ray cannot be imported ({error}). Install it, or use executor=serial."
            ) from None
        self._ray = ray
        if not ray.is_initialized():
            self.own = True
            with own_sigterm():
                self._connect(environment)
            self._unsilence = silence_raylet(ray)
            if self._reaper is not None and (folder := self._folder()):
                self._reaper.watch(folder)
        return ray

    @property
    def born_with(self) -> Mapping[str, str]:
        """What every worker has in its environment without being told."""
        return _BORN_WITH

    def _connect(self, environment: Mapping[str, str]) -> None:
        try:
            if self._kind == "ray_cluster":
                self._join()
            else:
                self._start(environment)
        except ExecutorError:
            raise
        except SystemExit:  # Ray's own answer to a SIGTERM while it starts
            raise KeyboardInterrupt from None
        except Exception as error:  # noqa: BLE001  (Ray tells by a bare one of a node that is slow)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            advice = (
                "Check executor.address and RAY_ADDRESS (a cluster that asks for a token: set "
                "RAY_AUTH_MODE=token), or use executor=ray_local."
                if self._kind == "ray_cluster"
                else "Try lawsweep doctor, or use executor=serial."
            )
            raise ExecutorError(f"Cannot start on Ray ({self._kind}): {reason}. {advice}") from None

    def _join(self) -> None:
        address = self._address or os.environ.get("RAY_ADDRESS") or "auto"
        if address.startswith("ray://"):
            raise ExecutorError(
                f"{address} is a Ray Client address, which cannot stream outcomes. "
                "Start lawsweep on a node of the cluster with executor.address=auto."
            )
        probe(address)
        self._ray.init(address=address, log_to_driver=False, logging_level="ERROR")

    def _start(self, environment: Mapping[str, str]) -> None:
        os.environ[MARK] = uuid.uuid4().hex  # inherited by every process of this Ray
        self._reaper = Reaper(os.environ[MARK])
        # Ray starts a worker a CPU at once.  With what tasks need in their environment
        # from birth these serve; else each task's first worker would be started anew.
        with inherited(environment):
            self._ray.init(
                address="local",
                num_cpus=self._n_cpus or len(os.sched_getaffinity(0)),
                num_gpus=self._n_gpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        _BORN_WITH.update(environment)

    def check_head(self) -> None:
        """Raise ExecutorError when Ray's head is gone.

        Ray itself would try to reach it for a minute and then end this process, with whatever
        rows it holds.
        """
        try:
            probe(str(self._ray.get_runtime_context().gcs_address))
        except (OSError, AttributeError) as error:
            if isinstance(error, AttributeError):
                return  # this Ray names its address otherwise: no check
            raise ExecutorError(
                f"Ray's head is gone ({error}). What had finished is in the table; start Ray "
                "again and run the same command to go on."
            ) from None

    def close(self, *, keep_logs: bool) -> None:
        """Disconnect from a Ray that this session connected to, and stop one that it started."""
        if not self.own:
            return
        self.own = False
        folder = self._folder()
        self._ray.shutdown()
        self._unsilence()
        if self._reaper is not None:
            _BORN_WITH.clear()
            self._reaper.release()
            self._reaper = None
            os.environ.pop(MARK, None)
            # Ray keeps the logs of every session; ours are of use only where a worker was lost.
            if folder and not keep_logs:
                shutil.rmtree(folder, ignore_errors=True)

    def _folder(self) -> str | None:
        """Where this Ray keeps its logs; None where the private name that says it moved."""
        try:
            return str(self._ray._private.worker.global_worker.node.get_session_dir_path())
        except AttributeError:
            return None
