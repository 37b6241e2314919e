"""Another processor, as far as rounding goes: torch's products, factors and sums, rounded anew.

Which bits a product has depends on the processor, on the library, on how many threads share it and
on whether it is one of a batch.  Under ``another_blas`` each result of an inexact product, sum or
transcendental function is moved by as much as a sound library may round it, by amounts that depend
on the operation, the shapes and strides of its arguments, and ``kind``: the same call gives the
same bits again, and the same seed in other company does not.  So a test that passes under it asks
for no bits that only the machine at hand gives.  (Not covered: numpy, and torch on threads that a
test starts.)
"""

from __future__ import annotations

import zlib
from functools import cache

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
# Where the two factors of a product stand among the arguments.
PRODUCTS = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot"), (0, 1)),
    **dict.fromkeys(
        ("addmm", "addmm_", "addbmm", "baddbmm", "baddbmm_", "addmv", "addmv_"), (1, 2)
    ),
}
# Factorisations are backward stable: those of a matrix that differs by rounding.
FACTORS = {"linalg_cholesky_ex", "_linalg_eigh", "_linalg_svd", "linalg_qr", "_linalg_det",
           "linalg_lu_factor_ex", "_linalg_solve_ex", "linalg_eig", "_linalg_eigvals"}  # fmt: skip
SYMMETRIC = {"linalg_cholesky_ex", "_linalg_eigh"}
SOLVES = {"linalg_solve_triangular": 0, "cholesky_solve": 1, "triangular_solve": 1}
PLAIN_SUMS = {"sum", "mean"}
SUMS = {*PLAIN_SUMS, "linalg_vector_norm", "norm"}
FUNCTIONS = {"exp", "exp_", "expm1", "log", "log1p", "tanh", "tanh_", "sigmoid", "sigmoid_", "erf",
             "erfc", "gelu", "silu", "softplus", "sin", "cos", "asin", "acos"}  # fmt: skip


class another_blas(TorchDispatchMode):  # noqa: N801  (a context, used as one)
    """Within it torch rounds otherwise; see the module."""

    def __init__(self, kind: int = 0) -> None:
        super().__init__()
        self.kind = kind
        self._kept: dict[tuple, torch.Tensor] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; to skip it torch would load its compiler, and ask it a call."""
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = _moved_name(func)
        if name is None:
            return func(*args, **kwargs)
        if name in FACTORS or name in SOLVES:
            at = SOLVES.get(name, 0)
            moved = self._moved(name, args[at], name in SYMMETRIC)
            return func(*args[:at], moved, *args[at + 1 :], **kwargs)
        if name in PRODUCTS:
            bound = self._bound(*(args[i] for i in PRODUCTS[name]))
            beta = kwargs.get("beta", 1)
            if PRODUCTS[name] == (1, 2) and bound is not None:  # before it is written over
                bound = bound * abs(kwargs.get("alpha", 1)) + abs(beta) * args[0].abs()
            return self._add(func(*args, **kwargs), bound, name, args)
        if name in SUMS and args[0].is_floating_point() and "out" not in kwargs:
            out = func(*args, **kwargs)
            if out.numel() == args[0].numel() or _whole(args[0]):
                return out
            size = func(args[0].abs(), *args[1:], **kwargs) if name in PLAIN_SUMS else out.abs()
            return self._add(out, size, name, args)
        if name in FUNCTIONS and args[0].is_floating_point():
            out = func(*args, **kwargs)
            # To an eps, where sums may have several; exp(0) = 1 and its like are exact everywhere.
            return self._add(out, torch.where(_integers(out), 0.0, out.abs() / 2), name, args)
        return func(*args, **kwargs)

    def _noise(self, name: str, like: torch.Tensor, args: tuple) -> torch.Tensor:
        """Numbers in [-1, 1] of the shape of ``like``: the same for the same call."""
        shapes = tuple((a.shape, a.stride()) for a in args if isinstance(a, torch.Tensor))
        key = (name, shapes, like.shape, like.dtype)
        if (kept := self._kept.get(key)) is not None:
            return kept
        start = zlib.crc32(repr((self.kind, *key)).encode()) / 2**32
        found = _phases(like.numel()).add(start).remainder_(1.0).mul_(2.0).sub_(1.0)
        found = found.reshape(like.shape).to(like)
        if like.numel() <= 2**16:
            self._kept[key] = found
        return found

    def _bound(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor | None:
        """|A| |B|, zero where at most one term is not zero; None where every sum is exact."""
        if a.shape[-1] == 1 or (_whole(a) and _whole(b)):
            return None
        bound = a.abs().matmul(b.abs())
        if min(int(t.count_nonzero()) / max(t.numel(), 1) for t in (a, b)) > 0.2:
            return bound
        count = (a != 0).to(a.dtype).matmul((b != 0).to(b.dtype))
        return torch.where(count > 1, bound, 0.0)

    def _add(self, out, bound, name, args):
        if bound is not None and torch.is_tensor(out) and out.is_floating_point():
            eps = torch.finfo(out.dtype).eps
            # One ulp at least, so that the move is seen; sound sums round by a few at most.
            move = bound.mul(self._noise(name, out, args)).mul_(2.0 * eps)
            out.add_(torch.nan_to_num_(move, 0.0, 0.0, 0.0))
        return out

    def _moved(self, name: str, a: torch.Tensor, symmetric: bool) -> torch.Tensor:
        eps = torch.finfo(a.dtype).eps
        noise = self._noise(name, a, (a,))
        if symmetric:
            noise = (noise + noise.mT) / 2
        off_diagonal = ~_diagonal(a)
        return torch.where(off_diagonal, a * (1 + eps * noise), a)


@cache
def _moved_name(func) -> str | None:
    """The name of an operation whose result is moved; None for the others."""
    name = func._schema.name.split("::")[1]
    moved = name in PRODUCTS or name in SUMS or name in FUNCTIONS
    return name if moved or name in FACTORS or name in SOLVES else None


@cache
def _ramp(n: int) -> torch.Tensor:
    return torch.arange(n, dtype=torch.float64) * 0.6180339887498949


def _phases(n: int) -> torch.Tensor:
    """The first n multiples of the golden ratio."""
    return _ramp(1 << max(n - 1, 1).bit_length())[:n]


def _diagonal(a: torch.Tensor) -> torch.Tensor:
    """Whether the matrix is diagonal (then nothing is rounded in its factors), (..., 1, 1)."""
    off = (
        a - torch.diag_embed(torch.diagonal(a, dim1=-2, dim2=-1))
        if a.shape[-1] == a.shape[-2]
        else a
    )
    return (off == 0).all(-1, keepdim=True).all(-2, keepdim=True)


def _integers(a: torch.Tensor) -> torch.Tensor:
    return a == a.round()


def _whole(a: torch.Tensor) -> bool:
    """Whether all entries are small whole numbers: their sums and products are exact."""
    first = a.reshape(-1)[:1]
    if first.numel() and not bool(_integers(first)):
        return False
    return bool(_integers(a).all()) and bool((a.abs() < 2**20).all())
