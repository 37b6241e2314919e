"""The job server of a Ray head: send it a command, ask after it, read its log, stop it.

Ray's own client does the talking.  Around it: an address that is not overruled by the environment
(Ray's client lets ``RAY_ADDRESS`` win over what it is given), a limit on how long a head may take
to answer, the cluster's token where the head asks for one, and one sentence for each failure.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from lawsweep.core.errors import ExecutorError, InvalidValueError
from lawsweep.core.secrets import learn
from lawsweep.executors.ray.manners import probe

PORT = 8265  # the dashboard's, which has the job server
ANSWER_S = 60.0  # a head that listens and does not answer for so long is as good as gone
UPLOAD_S = 600.0  # that the working folder may take to it
HEAD_S = 10.0  # a dashboard that has just started knows of no node yet
STOP_WAIT_S = 60  # from SIGTERM to SIGKILL; Ray's own 3 s are short for a flush to an object store
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
OURS = "RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"
_ANY_HEAD = ("auto", "local")  # Ray's words for whichever head it finds here
_NAME_IT = (
    f"Give --address http://HEAD:{PORT} (http://127.0.0.1:{PORT} for a head of yours on this "
    "machine), or set RAY_API_SERVER_ADDRESS to that."
)
T = TypeVar("T")
_QUIET = (
    "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
    "ray._private.authentication.http_token_authentication",
)  # fmt: skip


class Unreachable(ExecutorError):  # noqa: N818  (it reads as what it says)
    """No job server answers at the address."""


class NoSuchJob(ExecutorError):  # noqa: N818
    """The job server answers, and does not know the job."""


@dataclass(frozen=True)
class Look:
    """What a head says of a job: its state (Ray's word), its exit code, and a sentence."""

    state: str
    exit_code: int | None = None
    message: str = ""

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self.state in ENDED


def job_server_address(given: str | None, environ: Mapping[str, str]) -> str:
    """The URL of the job server: ``given``, else RAY_API_SERVER_ADDRESS, else RAY_ADDRESS.

    Nothing is guessed: a job runs code as whoever owns the head, and who owns the one that listens
    at 8265 of this machine, or of the host of Ray's own ``host:port``, cannot be known.  Raises
    InvalidValueError where no head is named, and for what is no address of a job server.
    """
    if given is not None:
        if given.strip() in ("", *_ANY_HEAD):
            raise InvalidValueError(
                f"--address names no head, got {given!r} (is a variable not set?). {_NAME_IT}"
            )
        return _url(given.strip(), "--address")
    for source in OURS:
        found = (environ.get(source) or "").strip()
        if found and found not in _ANY_HEAD:
            if source == "RAY_ADDRESS" and "://" not in found:
                raise InvalidValueError(
                    f"RAY_ADDRESS is {found!r}, Ray's own port and not the job server's. {_NAME_IT}"
                )
            return _url(found, source)
    raise InvalidValueError(f"No head is named to send the job to. {_NAME_IT}")


def _url(text: str, source: str) -> str:
    scheme, has_scheme, rest = text.partition("://")
    if not has_scheme:
        scheme, rest = "http", text
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if scheme not in ("http", "https") or not host or any(c.isspace() for c in rest):
        raise InvalidValueError(
            f"{source} must be the address of a head's job server such as http://HEAD:{PORT}, "
            f"got {text!r}."
        )
    if parts.username or parts.password:
        raise InvalidValueError(
            f"{source} has a name or password in it, and addresses are kept in the results folder. "
            "Leave it out; a cluster's token is found by itself (~/.ray/auth_token)."
        )
    host = f"[{host}]" if ":" in host else host
    if port is None and scheme == "http":
        port = PORT
    return f"{scheme}://{host}" + (f":{port}" if port is not None else "") + parts.path.rstrip("/")


def cluster_token(environ: Mapping[str, str]) -> str | None:
    """The cluster's token as Ray looks for it; None where there is none, or none is wanted."""
    if environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return None
    if environ.get("RAY_AUTH_TOKEN"):
        learn(environ["RAY_AUTH_TOKEN"])
        return environ["RAY_AUTH_TOKEN"].strip()
    named = environ.get("RAY_AUTH_TOKEN_PATH")
    try:
        path = Path(named) if named else Path.home() / ".ray" / "auth_token"
        token = path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError, RuntimeError):
        return None
    learn(token or "")
    return token


class JobServer:
    """A head's job server.  Connecting raises ExecutorError with one clear sentence."""

    def __init__(self, address: str):
        self.address = address
        parts = urlsplit(address)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with self._told():
            probe(f"{parts.hostname}:{port}")  # before the import, which takes a second
        make = _client_class()
        self._headers: dict[str, str] = {}
        self._client = self._asked(lambda: self._connect(make))

    def _connect(self, make: Any) -> Any:
        token = cluster_token(os.environ)
        # A file of certificates, as `requests` would choose it: of that the client makes a context
        # for the log's connection too.
        kept = {"verify": _certificates()}
        with _own_address():
            try:
                return make(self.address, **kept)
            except Exception as error:
                # The token goes only to a head that asks for one.
                if type(error).__name__ != "AuthenticationError" or token is None:
                    raise
            self._headers = {"Authorization": f"Bearer {token}"}
            return make(self.address, headers=self._headers, **kept)

    def _asked(self, call: Callable[[], T], job: str = "", within_s: float | None = None) -> T:
        """What a call of Ray's client answers; itself it would wait for ever for a mute head."""
        answer: Future[T] = Future()
        limit_s = ANSWER_S if within_s is None else within_s

        def ask() -> None:
            try:
                answer.set_result(call())
            except BaseException as error:  # noqa: BLE001  (raised where it was asked for)
                answer.set_exception(error)

        threading.Thread(target=ask, daemon=True).start()
        with self._told(job):
            try:
                return answer.result(limit_s)
            except TimeoutError:
                raise TimeoutError(f"silent for {limit_s:g} s") from None

    @contextlib.contextmanager
    def _told(self, job: str = "") -> Iterator[None]:
        """Failures of Ray's client as ours, a sentence each."""
        try:
            yield
        except ExecutorError:
            raise
        except OSError as error:  # those of requests are OSErrors too
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise Unreachable(
                f"The head at {self.address} does not answer ({reason[:200]}). Is it running, with "
                "ray[default] installed there for its job server, and is this the dashboard's port "
                f"({PORT}, not 6379)? Another is named by --address http://HEAD:{PORT}."
            ) from None
        except Exception as error:  # noqa: BLE001  (Ray's client raises RuntimeError for most)
            raise self._refused(error, job) from None

    def _refused(self, error: Exception, job: str) -> ExecutorError:
        text = " ".join(str(error).split())
        if type(error).__name__ == "AuthenticationError":
            has = cluster_token(os.environ) is not None
            return ExecutorError(
                f"The head at {self.address} asks for a token and "
                + ("refuses the one here. " if has else "there is none here. ")
                + "Put the cluster's own into ~/.ray/auth_token (or RAY_AUTH_TOKEN) and let "
                "RAY_AUTH_MODE be token."
            )
        if job and "status code 404" in text:
            return NoSuchJob(
                f"The head at {self.address} does not know the job {job}: it was started afresh "
                "since, or the job was deleted there. Submit it again."
            )
        return ExecutorError(
            f"The job server at {self.address} refused: {text[:300]}. Check what was sent; the log "
            "of the head may say more."
        )

    def is_this_machine(self) -> bool:
        """Whether the head is on this machine; a forwarded port of 127.0.0.1 is elsewhere."""
        end = time.monotonic() + HEAD_S
        while (head := self._head()) is None and time.monotonic() < end:
            time.sleep(0.5)
        if head is None:
            return False
        return head[0] == platform.node() and head[1] in _own_ips()

    def _head(self) -> tuple[str, str] | None:
        """Name and address of the head's machine; None where the dashboard does not say."""
        asked = urllib.request.Request(f"{self.address}/nodes?view=summary", headers=self._headers)
        try:
            trusted = Path(_certificates())
            cafile, capath = (None, trusted) if trusted.is_dir() else (trusted, None)
            context = ssl.create_default_context(cafile=cafile, capath=capath)
            with urllib.request.urlopen(asked, timeout=ANSWER_S, context=context) as answer:
                found = json.load(answer)
            nodes = [n.get("raylet") or {} for n in found["data"]["summary"]]
            head = next(n for n in nodes if n.get("isHeadNode"))
            return str(head["nodeManagerHostname"]), str(head["nodeManagerAddress"])
        except (AttributeError, KeyError, TypeError, ValueError, OSError, StopIteration):
            return None

    def submit(self, request: Mapping[str, Any]) -> None:
        """Send a job: arguments of Ray's ``submit_job``."""
        self._asked(lambda: self._client.submit_job(**request), within_s=UPLOAD_S)

    def look(self, job: str) -> Look:
        """Where a job is.  Raises Unreachable, NoSuchJob."""
        found = self._asked(lambda: self._client.get_job_info(job), job)
        state = getattr(found.status, "value", None) or str(found.status)
        message = " ".join(str(found.message or "").split())
        return Look(state, found.driver_exit_code, message[:500])

    def stop(self, job: str) -> None:
        """SIGTERM to the job's driver, SIGKILL when it has not ended ``STOP_WAIT_S`` later."""
        self._asked(lambda: self._client.stop_job(job), job)

    def log(self, job: str) -> str:
        """All that the job has printed so far."""
        return str(self._asked(lambda: self._client.get_job_logs(job), job))

    def follow(self, job: str, put: Callable[[str], None]) -> None:
        """Hand on what the job prints, from its beginning, until it ends."""
        import asyncio

        async def tail() -> None:
            async for lines in self._client.tail_job_logs(job):
                put(lines)

        with self._told(job):
            asyncio.run(tail())


def _client_class() -> Any:
    try:
        import aiohttp  # noqa: F401
        import pydantic  # noqa: F401
        import requests  # noqa: F401
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise ExecutorError(
            f"Ray's job client cannot be imported ({error}). It comes with ray[default]: "
            "install lawsweep[jobs]."
        ) from None
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    return JobSubmissionClient


def _certificates() -> str:
    import certifi

    given = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return given or str(certifi.where())


_ENVIRONMENT = threading.Lock()


@contextlib.contextmanager
def _own_address() -> Iterator[None]:
    """Inside, the environment names no other head: Ray's client would prefer that one."""
    with _ENVIRONMENT:
        before = {name: os.environ.pop(name) for name in OURS if name in os.environ}
        try:
            yield
        finally:
            os.environ.update(before)


def _own_ips() -> set[str]:
    import psutil

    return {a.address for addresses in psutil.net_if_addrs().values() for a in addresses}
