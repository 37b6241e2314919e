"""A process's connection to Ray: started by it and stopped again, joined, or there before."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lawsweep.core.errors import ExecutorError, InvalidValueError
from lawsweep.core.outcome import Loss, Lost
from lawsweep.executors.ray.alone import ask_token, lean, on_loopback
from lawsweep.executors.ray.leftovers import Claim, remove_leftovers
from lawsweep.executors.ray.manners import inherited, own_sigterm, probe, silence_raylet
from lawsweep.executors.ray.reaper import MARK, Reaper
from lawsweep.worker.visible import VARIABLE, n_slices, visible_cards

# A head that is busy (or a driver that is: load, a store that hangs) does not answer in time now
# and then.  Ray itself gives up, and ends this process, after a minute.
HEAD_FAILURES, HEAD_PATIENCE_S = 4, 20.0
# Larger values are objects in the store of the node, smaller ones travel with the call.  Where the
# raylet dies, and its store with it, Ray ends a process that owns an object there.
INLINE_BYTES = 2**20

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
        self._whole = False  # Ray came up, and nothing of it was lost since
        self._claim: Claim | None = None
        self._unanswered: list[float] = []  # when the head did not answer, since it last did
        self._untoken: Callable[[], None] = lambda: None

    def open(self, environment: Mapping[str, str]) -> Any:
        """Connect, and return Ray's module.  A Ray that is started has ``environment`` throughout.

        Raises ExecutorError with one sentence.
        """
        # Before the import: Ray reads these when it is loaded.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_max_direct_call_object_size", str(INLINE_BYTES))
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
                self._claim = Claim(folder)
                remove_leftovers(folder)
        self._whole = True
        return ray

    @property
    def whole(self) -> bool:
        """Whether Ray came up, and nothing of it was lost since."""
        return self._whole

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
        except (ExecutorError, InvalidValueError):
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
        n_gpus = self._gpus()
        os.environ[MARK] = uuid.uuid4().hex  # inherited by every process of this Ray
        self._reaper = Reaper(os.environ[MARK])
        # Ray starts a worker a CPU at once.  With what tasks need in their environment
        # from birth these serve; else each task's first worker would be started anew.
        self._untoken = ask_token(self._ray)
        with on_loopback(), lean(), inherited(environment):
            self._ray.init(
                address="local",
                _node_ip_address="127.0.0.1",
                num_cpus=self._n_cpus or len(os.sched_getaffinity(0)),
                num_gpus=n_gpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        _BORN_WITH.update(environment)

    def _gpus(self) -> int | None:
        """GPUs of a Ray that is started; None: as many as it detects.

        It counts whole cards, where a process may see slices of one, and takes -1 for a card.
        Raises InvalidValueError for a list that CUDA would not read, ExecutorError for too few.
        """
        seen = visible_cards()
        if seen is None:
            return self._n_gpus
        if self._n_gpus is not None and self._n_gpus > len(seen):
            raise ExecutorError(
                f"executor.n_gpus={self._n_gpus} is more than {VARIABLE}="
                f"{os.environ[VARIABLE]!r} shows ({len(seen)}). Lower it, or set the variable anew."
            )
        if self._n_gpus is not None:
            return self._n_gpus
        cut = len(seen) < len(os.environ[VARIABLE].split(","))  # at what names none
        return len(seen) if cut or not seen else n_slices()

    def head_answers(self) -> bool:
        """Whether Ray's head can be asked now.  Raises ExecutorError when it is gone.

        Ray itself would try to reach it for a minute and then end this process, with whatever
        rows it holds.  Gone is what fails to answer HEAD_FAILURES times over HEAD_PATIENCE_S.
        """
        try:
            probe(str(self._ray.get_runtime_context().gcs_address))
        except AttributeError:
            pass  # this Ray names its address otherwise: no check
        except OSError as error:
            now = time.monotonic()
            self._unanswered.append(now)
            lasted = now - self._unanswered[0]
            if len(self._unanswered) >= HEAD_FAILURES and lasted >= HEAD_PATIENCE_S:
                raise self._lost(
                    f"Ray's head is gone: {error}, {len(self._unanswered)} times in {lasted:.0f} s"
                ) from None
            return False
        self._unanswered.clear()
        return True

    def check_processes(self) -> None:
        """Raise ExecutorError when a process of the Ray that was started here has died.

        A raylet ends when one of its agents does.  Calls to a Ray without one may not return.
        """
        node = getattr(getattr(self._ray, "_private", None), "worker", None)
        dead = getattr(getattr(node, "_global_node", None), "dead_processes", None)
        if self._reaper is None or dead is None:
            return
        died = sorted({str(kind) for kind, _ in dead()} & {"raylet", "gcs_server"})
        if died:
            raise self._lost(f"A process of Ray has died: {', '.join(died)}")

    def check_own_node(self, nodes: Iterable[Mapping[str, Any]]) -> None:
        """Raise ExecutorError when the node of this process is gone, by ``ray.nodes()``."""
        here = self._ray.get_runtime_context().get_node_id()
        if any(n.get("NodeID") == here and not n.get("Alive") for n in nodes):
            raise self._lost("Ray has lost the node of this process")

    def _lost(self, what: str) -> ExecutorError:
        self._whole = False
        folder = self._folder() if self._reaper is not None else None
        logs = f" Its logs are in {folder}/logs." if folder else ""
        return ExecutorError(
            f"{what}.{logs} What had finished is in the table; start Ray again and run the same "
            "command to go on."
            if self._kind == "ray_cluster"
            else f"{what}.{logs} What had finished is in the table; run the same command to go on."
        )

    def close(self, *, keep_logs: bool) -> None:
        """Disconnect from a Ray that this session connected to, and stop one that it started."""
        if not self.own:
            return
        self.own = False
        folder = self._folder()
        if self._reaper is not None and not self._whole:
            # Interrupted while it started, or a part of it has died: the others would stay for a
            # minute, and to say good-bye to what is gone takes as long.
            self._reaper.end_all()
        self._ray.shutdown()
        self._unsilence()
        self._untoken()
        if self._reaper is not None:
            _BORN_WITH.clear()
            self._reaper.release()
            self._reaper = None
            os.environ.pop(MARK, None)
            # Ray keeps the logs of every session; ours are of use only where a worker was lost.
            if folder and not keep_logs and self._whole:
                shutil.rmtree(folder, ignore_errors=True)
            if self._claim is not None:
                self._claim.release()
                self._claim = None

    def _folder(self) -> str | None:
        """Where this Ray keeps its logs; None where the private name that says it moved."""
        try:
            return str(self._ray._private.worker.global_worker.node.get_session_dir_path())
        except AttributeError:
            return None


def loss_of(ray: Any, error: Exception) -> Lost:
    """What became of a worker, by the exception that Ray gives for its answer."""
    exceptions = ray.exceptions
    if isinstance(error, exceptions.OutOfMemoryError):
        return Lost(Loss.OUT_OF_MEMORY, "the node ran out of memory")
    if isinstance(error, exceptions.RayTaskError):
        last = str(error).strip().splitlines()[-1]
        return Lost(Loss.UNABLE, last)
    if isinstance(error, exceptions.WorkerCrashedError):
        return Lost(Loss.CRASHED, "the worker process died (killed, aborted or exited)")
    node_losses = (
        exceptions.NodeDiedError, exceptions.ObjectLostError, exceptions.LocalRayletDiedError,
    )  # fmt: skip
    if isinstance(error, node_losses):
        return Lost(Loss.NODE, f"its node was lost ({type(error).__name__})")
    return Lost(Loss.CRASHED, type(error).__name__)
