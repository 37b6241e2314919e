"""An experiment that says what it finds in its process, and then leaves it changed."""

# ruff: noqa: NPY002  (numpy's global random state is what this is about)
from __future__ import annotations

import decimal
import gc
import io
import locale
import os
import random
import signal
import sys
import time
import warnings
from dataclasses import dataclass

import numpy as np

from lawsweep import experiment


def _torch():
    import torch

    return torch


def _umask():
    found = os.umask(0o022)
    os.umask(found)
    return found


def _half_of_the_least():
    return sys.float_info.min * float(_torch().tensor(0.5, dtype=_torch().float64))


def _use_pcg():
    np.random.set_bit_generator(np.random.PCG64(1))


# How each is read and how it is changed.  Names as in worker.process_state where it lists them.
THINGS = {
    "working folder": (os.getcwd, lambda: os.chdir("/")),
    "os.environ": (
        lambda: sorted(os.environ.items()),
        lambda: os.environ.update(MESSY="1", PATH="/nowhere") or os.environ.pop("HOME", None),
    ),
    "sys.path": (lambda: list(sys.path), lambda: sys.path.insert(0, "/messy")),
    "recursion limit": (sys.getrecursionlimit, lambda: sys.setrecursionlimit(4321)),
    "filters of warnings": (
        lambda: [str(f) for f in warnings.filters],
        lambda: warnings.simplefilter("ignore"),
    ),
    "locale": (
        lambda: locale.setlocale(locale.LC_ALL),
        lambda: locale.setlocale(
            locale.LC_ALL, "C" if "UTF" in locale.setlocale(locale.LC_ALL) else "C.UTF-8"
        ),
    ),
    "signal handlers": (
        lambda: str([signal.getsignal(s) for s in (signal.SIGUSR1, signal.SIGPIPE)]),
        lambda: [signal.signal(s, signal.SIG_IGN) for s in (signal.SIGUSR1, signal.SIGTERM)],
    ),
    "a pending alarm": (
        lambda: signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        lambda: signal.setitimer(signal.ITIMER_REAL, 3600),
    ),
    "umask": (_umask, lambda: os.umask(0o077)),
    "decimal context": (
        lambda: str(decimal.Decimal(1) / 3),
        lambda: setattr(decimal.getcontext(), "prec", 3),
    ),
    "numpy.seterr": (np.geterr, lambda: np.seterr(all="raise")),
    "time zone": (
        lambda: time.localtime(0).tm_hour,
        lambda: (os.environ.update(TZ="JST-9"), time.tzset()),
    ),
    "standard streams": (
        lambda: isinstance(sys.stdout, io.StringIO),
        lambda: setattr(sys, "stdout", io.StringIO()),
    ),
    "garbage collection": (gc.isenabled, gc.disable),
    "numpy.set_printoptions": (
        lambda: str(np.array([1 / 3])),
        lambda: np.set_printoptions(precision=2),
    ),
    "random": (random.random, lambda: random.seed(7)),
    "random, drawn from": (random.random, lambda: random.gauss(0, 1)),
    "numpy.random": (lambda: float(np.random.randn()), lambda: np.random.seed(7)),
    "numpy.random, drawn from": (lambda: float(np.random.rand()), lambda: np.random.rand(9)),
    "numpy.random, another generator": (lambda: float(np.random.rand()), _use_pcg),
    "torch.random": (lambda: _torch().rand(1).item(), lambda: _torch().manual_seed(7)),
    "default dtype": (
        lambda: (_torch().tensor([1.0]) / 3).double().item(),
        lambda: _torch().set_default_dtype(_torch().float64),
    ),
    "default device": (
        lambda: str(_torch().zeros(1).device),
        lambda: _torch().set_default_device("meta"),
    ),
    "grad mode": (
        lambda: _torch().is_grad_enabled(),
        lambda: _torch().set_grad_enabled(False),
    ),
    "autocast": (
        lambda: str(_torch().mm(_torch().ones(1, 1), _torch().ones(1, 1)).dtype),
        lambda: _torch().set_autocast_enabled("cpu", True),
    ),
    "mkldnn.enabled": (
        lambda: _torch().backends.mkldnn.enabled,
        lambda: setattr(_torch().backends.mkldnn, "enabled", False),
    ),
    "threads": (
        lambda: _torch().get_num_threads(),
        lambda: _torch().set_num_threads(3),
    ),
    "anomaly mode": (
        lambda: _torch().is_anomaly_enabled(),
        lambda: _torch().set_anomaly_enabled(True),
    ),
    "deterministic algorithms": (
        lambda: _torch().are_deterministic_algorithms_enabled(),
        lambda: _torch().use_deterministic_algorithms(True),
    ),
    "float32 matmul precision": (
        lambda: _torch().get_float32_matmul_precision(),
        lambda: _torch().set_float32_matmul_precision("medium"),
    ),
    "denormals flushed": (
        lambda: _half_of_the_least() == 0,
        lambda: _torch().set_flush_denormal(True),
    ),
}


@dataclass(frozen=True, kw_only=True)
class MessyParams:
    """Params of ``messy``: which thing it changes; ``i`` tells runs apart."""

    what: str
    i: float = 0.0


@dataclass(frozen=True, kw_only=True)
class MessyMetrics:
    """What it found of that thing before it changed it."""

    found: str


def _leave(what):
    read, change = THINGS[what]
    found = str(read())
    change()
    return MessyMetrics(found=found)


def _fused(params, seeds, device):
    found = _leave(params[0].what)
    return [found] * len(params)


@experiment(version=1, fused=_fused, fuse_over=("i",), imports=("torch",))
def messy(params: MessyParams, seed: int) -> MessyMetrics:
    """Say what is there, and change it."""
    return _leave(params.what)
