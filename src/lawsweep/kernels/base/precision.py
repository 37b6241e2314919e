"""Products in the type they are stored in: TF32, bfloat16 passes and autocast are off, and checked.

torch may compute float32 products in less: TF32 on a card (10 bits of each factor), one to three
bfloat16 passes on a CPU that has them, whatever autocast says.  A setting is the process's, made
perhaps by a module that never thought of us, and every bound in float32 would be wrong by up to
three digits.  So

- kernels compute within ``full_precision()``, which sets what has to be set and puts a user's own
  setting back (his code outside of a kernel keeps it);
- a rounding bound is made of ``rounding.gamma``, which refuses float32 while any of this is on:
  no claim can be made by a kernel that forgot the context;
- what no setting of torch tells (``NVIDIA_TF32_OVERRIDE``, emulated float64 of CUDA 13) is seen by
  ``prove_products``: a product whose exact answer is known, once a process, device and type.

Half-precision reductions and cuDNN's convolutions have settings too; kernels have neither halves
nor convolutions (a test holds that), so these are left alone.
"""

from __future__ import annotations

import functools
import inspect
from contextlib import ContextDecorator, suppress
from typing import Any, TypeVar

import torch

# By backend: ``torch.backends.<backend>.matmul.fp32_precision``, of torch 2.9 and later.
_BACKENDS: tuple[Any, ...] = tuple(
    home
    for name in ("cuda", "mkldnn")
    if hasattr(home := getattr(getattr(torch.backends, name), "matmul", None), "fp32_precision")
)
_AUTOCAST = ("cpu", "cuda")
# What ``set_float32_matmul_precision`` makes of each backend's own setting.
C = TypeVar("C", bound=type)
_WORDS = {"highest": ("ieee", "ieee"), "high": ("tf32", "tf32"), "medium": ("tf32", "bf16")}
GOLDEN = (5**0.5 - 1) / 2
PROBE_ORDER = {"cpu": 256, "cuda": 512}  # large enough for the library's fast kernels
PROBE_BITS = {torch.float32: 20, torch.float64: 60}  # how far apart the probe's columns lie


class PrecisionError(RuntimeError):
    """A bound was asked of products that may be computed in less than their own type."""


class full_precision(ContextDecorator):  # noqa: N801  (a context, by its use)
    """A context, or a decorator, in which float32 products are float32's; about 1 us."""

    def __enter__(self) -> None:
        self._autocast = tuple(d for d in _AUTOCAST if torch.is_autocast_enabled(d))
        for device in self._autocast:
            torch.set_autocast_enabled(device, False)
        word = _word()
        self._before = None if word == "highest" else (word or _hidden_word(), _settings())
        if self._before is not None:
            torch.set_float32_matmul_precision("highest")

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            word, settings = self._before
            torch.set_float32_matmul_precision(word)
            _restore(settings)
        for device in self._autocast:
            torch.set_autocast_enabled(device, True)

    def _recreate_cm(self) -> full_precision:
        return full_precision()  # a function may be within itself


def in_full_precision(cls: C) -> C:
    """A class whose public methods compute within ``full_precision()``, wherever it is called."""
    for name, method in list(vars(cls).items()):
        if inspect.isfunction(method) and not name.startswith("_"):
            setattr(cls, name, full_precision()(method))
    return cls


def reduced() -> str | None:
    """What lets float32 products be computed in less just now, in words; None where nothing does.

    Of this thread and process; see ``prove_products`` for what no setting tells.
    """
    for device in _AUTOCAST:
        if torch.is_autocast_enabled(device):
            return f"autocast is on for {device}"
    word = _word()
    if word == "highest":
        return None
    if word is not None:
        return f"torch.get_float32_matmul_precision() is {word!r}"
    found = " and ".join(_settings())
    return f"torch.backends' cuda.matmul and mkldnn.matmul fp32_precision are {found}"


def require_full(dtype: torch.dtype) -> None:
    """PrecisionError where a bound in ``dtype`` would not hold for products computed just now."""
    if dtype is torch.float32 and (why := reduced()) is not None:
        raise PrecisionError(
            f"expected float32 products in full for a bound on their rounding, but {why}; "
            "compute and claim within lawsweep.kernels.base.precision.full_precision()"
        )


def prove_products(device: torch.device, dtype: torch.dtype) -> None:
    """PrecisionError where a product on ``device`` is not one of ``dtype``'s own numbers.

    A D, with D diagonal, its powers of 2 undoing those of A's columns: exact in whatever order,
    with or without fused operations.  TF32 and bfloat16 lose A's last bits; fixed-point emulation
    of float64 (``CUBLAS_EMULATE_DOUBLE_PRECISION``), whose error is relative to a row's largest
    entry where the bounds' is relative to each term, loses its small columns.  Once a process,
    device and type; a library that changes its mind at another size is not seen.  (A CPU's float64
    has no lesser way.)
    """
    require_full(dtype)
    if device.type != "cpu" or dtype is torch.float32:
        _prove(str(device), device.type, dtype)


@functools.lru_cache(maxsize=64)
def _prove(device: str, kind: str, dtype: torch.dtype) -> None:
    n, most = PROBE_ORDER.get(kind, 256), PROBE_BITS[dtype]
    count = torch.arange(n * n, dtype=torch.float64, device=device).reshape(n, n)
    # All of the type's digits, and no two rows alike.
    fractions = (1.0 + torch.frac(count * GOLDEN)).to(dtype)
    exponents = torch.arange(n, device=device) % (2 * most + 1) - most
    # Powers of 2 by their bits: a card's exp2 may be off in the last.
    powers = ((exponents + 1023) << 52).view(torch.float64).to(dtype)
    product = (fractions * powers) @ torch.diag(1.0 / powers)
    if not bool((product == fractions).all()):
        raise PrecisionError(
            f"products on {device} are not {str(dtype).removeprefix('torch.')}'s: a product whose "
            "answer is exact came out otherwise. Look at NVIDIA_TF32_OVERRIDE, "
            "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE and CUBLAS_EMULATE_DOUBLE_PRECISION in the "
            "environment; no bound is claimed for such products"
        )


def _word() -> str | None:
    """torch's own word; None where it refuses one, as settings of two kinds are mixed."""
    try:
        return str(torch.get_float32_matmul_precision())
    except RuntimeError:
        return None


def _settings() -> tuple[str, ...]:
    return tuple(str(home.fp32_precision) for home in _BACKENDS)


def _set(settings: tuple[str, ...]) -> None:
    for home, value in zip(_BACKENDS, settings, strict=True):
        home.fp32_precision = value


def _restore(settings: tuple[str, ...]) -> None:
    """Each backend's setting as it was read: inherited ("none") where that reads the same."""
    for home, value in zip(_BACKENDS, settings, strict=True):
        if home.fp32_precision != value:
            home.fp32_precision = "none"
            if home.fp32_precision != value:
                home.fp32_precision = value


def _hidden_word() -> str:
    """torch's word where it tells none: the one that it tells once the others agree with it."""
    before = _settings()
    try:
        for word, settings in _WORDS.items():
            with suppress(RuntimeError):
                _set(settings[: len(_BACKENDS)])
                if _word() == word:
                    return word
        return "highest"
    finally:
        _restore(before)
