"""A device's rates, measured in about a second, once a machine: what ``rates`` makes tables of.

Measured when a kernel first asks, kept in a file by what the device is (its name, torch,
instructions), so that every process of a machine, today and tomorrow, decides alike; the first to
write it counts.  ``LAWSWEEP_CALIBRATION``: ``off`` (stated rates decide), a folder for the files,
or ``auto``, by default: ``$XDG_CACHE_HOME`` or ``~/.cache``.  Where no folder can be written each
process measures for itself.

Each kind of kernel has an equal share of the time: sizes grow until one call fills a part of it,
and the quickest of a few calls counts.  A CPU's rates are those of one core, by the time that the
thread computed: what others take of a machine is not what it can do.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lawsweep.kernels.base.precision import full_precision
from lawsweep.kernels.base.rates import Rates, Table, cache_bytes
from lawsweep.kernels.base.threads import OneThread

ENVIRONMENT = "LAWSWEEP_CALIBRATION"
SECONDS = 1.0
FORMAT = 1  # of a file; raised where rates mean something else
FILLED = 0.15  # of its share of the time that one call takes, before sizes stop growing
REPEATS = 5
MOST_RATE = 1e21  # of anything a second: what is more, or infinite, is no measurement
TYPES = ("float64", "float32")

_lock = threading.RLock()
_tables: dict[str, Table | None] = {}


def table(device: Any) -> Table | None:
    """The table of a device's own rates, measured if need be; None where calibration is off."""
    given = os.environ.get(ENVIRONMENT) or "auto"
    if given == "off":
        return None
    device = torch.device(device)
    facts = identity(device)
    key = json.dumps(facts, sort_keys=True)
    with _lock:
        if key not in _tables:
            rates = _kept_or_measured(device, key, None if given == "auto" else Path(given))
            _tables[key] = Table.of(device.type, rates, "measured")
        return _tables[key]


def identity(device: torch.device) -> dict[str, Any]:
    """What tells one device from another, as far as its rates go."""
    facts: dict[str, Any] = {"format": FORMAT, "kind": device.type, "torch": torch.__version__}
    if device.type == "cuda":
        if torch.cuda.is_available():
            p = torch.cuda.get_device_properties(device)
            facts |= {"name": p.name, "memory": p.total_memory, "cuda": torch.version.cuda}
        return facts
    facts |= {"name": _processor(), "instructions": torch.backends.cpu.get_cpu_capability()}
    return facts


def _processor() -> str:
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        wanted = ("vendor_id", "cpu family", "model", "model name", "stepping")
        found = {}
        for line in lines:
            name, _, value = line.partition(":")
            if not name.strip():
                break
            found[name.strip()] = value.strip()
        return " ".join(found[n] for n in wanted if n in found)
    return "unknown"


def _kept_or_measured(device: torch.device, key: str, folder: Path | None) -> Rates:
    """From the file of such a device; else measured, and kept for the next to come."""
    path = None
    # Without a home (a user that the machine does not list) each process measures for itself.
    with suppress(RuntimeError):
        if device.type == "cpu" or torch.cuda.is_available():
            path = (folder or _usual_folder()) / _file_name(key)
    if path is None:
        return measure(device)
    if (rates := _read(path)) is not None:
        return rates
    rates = measure(device)
    fresh = path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        told = {"device": json.loads(key), "rates": asdict(rates)}
        try:
            fresh.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
            with suppress(FileExistsError):
                if _read(path) is None:  # torn, or of somebody who measured something else
                    path.unlink(missing_ok=True)
                os.link(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
    return _read(path) or rates


def _usual_folder() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "lawsweep" / "calibration"


def _file_name(key: str) -> str:
    return f"{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}.json"


def _read(path: Path) -> Rates | None:
    """The rates of a file; None where there is none, or it holds what no device does."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        told = json.loads(path.read_text(encoding="utf-8"))["rates"]
        rates = Rates(**{f.name: float(told[f.name]) for f in fields(Rates)})
        sound = all(0.0 < v < MOST_RATE for v in asdict(rates).values()) and rates.launch < 1.0
        return rates if sound else None
    return None


class Probe(NamedTuple):
    """A kind of kernel: for each size what it does there, and how many operations that are."""

    name: str
    cases: Iterable[tuple[Callable[[], Any], float]]


@full_precision()
def measure(
    device: torch.device,
    seconds: float = SECONDS,
    clock: Callable[[], float] | None = None,
) -> Rates:
    """The rates of ``device``, in about ``seconds`` after its libraries have started.

    ``clock``: by default the thread's own time on a CPU, with one thread, and else the wall's.
    """
    cpu, wait = device.type == "cpu", _waiting(device)
    clock = (time.thread_time if cpu else time.perf_counter) if clock is None else clock
    found: dict[str, float] = {"cache": float(cache_bytes())}
    share = seconds / (len(fields(Rates)) - 1)
    with OneThread(cpu), torch.no_grad():
        for probe in _probes(device):
            found[probe.name] = _rate(probe, share, wait, clock)
    found["launch"] = 1.0 / found["launch"]
    return Rates(**found)


def _rate(probe: Probe, share: float, wait: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Operations a second at the largest size that its share of the time had room for."""
    rate, begun, first = 1.0, clock(), True
    for call, work in probe.cases:
        if first:  # a library that starts, a handle that is made
            call()
            wait()
            begun, first = clock(), False
        least, repeats = float("inf"), 0
        while repeats < REPEATS and (not repeats or clock() - begun < share):
            start = clock()
            call()
            wait()
            least, repeats = min(least, clock() - start), repeats + 1
        rate = work / max(least, 1e-9)
        if least > FILLED * share or clock() - begun > share / 2.0:
            break
    return rate


def _waiting(device: torch.device) -> Callable[[], Any]:
    real = device.type == "cuda" and torch.cuda.is_available()
    return (lambda: torch.cuda.synchronize(device)) if real else (lambda: None)


def _probes(device: torch.device) -> Iterator[Probe]:
    most = 1024 if device.type == "cpu" else 8192
    for name in TYPES:
        dtype = getattr(torch, name)
        yield Probe(f"matmul_{name}", _products(device, dtype, most))
        yield Probe(f"cholesky_{name}", _factors(device, dtype, most))
        yield Probe(f"solve_{name}", _solves(device, dtype, 2 * most))
    yield Probe("eigvals_float64", _eigenvalues(device))
    yield Probe("bandwidth", _passes(device, 2**22 if device.type == "cpu" else 2**26))
    yield Probe("launch", _launches(device))
    yield Probe("draws", _draws())


Cases = Iterator[tuple[Callable[[], Any], float]]


def _orders(most: int, least: int = 256) -> Iterator[int]:
    while least <= most:
        yield least
        least *= 2


def _numbers(device: torch.device, dtype: torch.dtype, n: int) -> torch.Tensor:
    """A matrix (n, n) of plain numbers, made there: no draw of anybody's is used."""
    count = torch.arange(n * n, dtype=torch.float64, device=device).reshape(n, n)
    return (torch.frac(count * 0.6180339887498949) - 0.5).to(dtype)


def _products(device: torch.device, dtype: torch.dtype, most: int) -> Cases:
    for n in _orders(most):
        a = _numbers(device, dtype, n)
        out = torch.empty_like(a)
        yield partial(torch.mm, a, a, out=out), 2.0 * n**3


def _definite(device: torch.device, dtype: torch.dtype, n: int) -> torch.Tensor:
    a = _numbers(device, dtype, n)
    a = a + a.mT
    a.diagonal().add_(float(n))  # outweighs the rest of its row
    return a


def _factors(device: torch.device, dtype: torch.dtype, most: int) -> Cases:
    for n in _orders(most):
        a = _definite(device, dtype, n)
        yield partial(torch.linalg.cholesky_ex, a), n**3 / 3.0


def _solves(device: torch.device, dtype: torch.dtype, most: int) -> Cases:
    for n in _orders(most, 512):
        factor, v = _definite(device, dtype, n).tril(), torch.ones(n, 1, dtype=dtype, device=device)

        def both(factor: torch.Tensor = factor, v: torch.Tensor = v) -> None:
            v = torch.linalg.solve_triangular(factor, v, upper=False)
            torch.linalg.solve_triangular(factor.mT, v, upper=True)

        yield both, 2.0 * n**2


def _eigenvalues(device: torch.device) -> Cases:
    for n in (64, 128, 256):
        a = _definite(device, torch.float64, n).repeat(4, 1, 1)
        yield partial(torch.linalg.eigvalsh, a), 4.0 * n**3


def _passes(device: torch.device, most: int) -> Cases:
    n = 2**20
    while n <= most:
        a = torch.ones(n, dtype=torch.float64, device=device)
        yield partial(a.mul_, 1.0), 16.0 * n
        n *= 4


def _launches(device: torch.device) -> Cases:
    small, n = torch.zeros(16, dtype=torch.float64, device=device), 100

    def calls() -> None:
        for _ in range(n):
            small.add_(1.0)

    yield calls, float(n)


def _draws() -> Cases:
    generator = np.random.default_rng(0)
    yield (lambda: generator.standard_normal(2**16)), 2.0**16
