"""The solvers of lambda_min there are, as a plan may ask of them: no torch is loaded for it.

A solver is one file and its line in ``TABLE``.  Those that need K in memory stand there from the
fastest to the slowest: one that comes to nothing hands over to the next, and the last always has an
answer.  Those that need no more than J, row by row, follow: they are taken where K does not fit.
"""

from __future__ import annotations

import functools
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from lawsweep.kernels.base import devices
from lawsweep.kernels.base.names import check_name, unknown

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lawsweep.kernels.eigmin.problem import Problem
    from lawsweep.kernels.eigmin.result import Facts, Pair

Needs = Literal["matrix", "rows"]
AUTO = "auto"
# Below this order all eigenvalues take no longer than the many small calls of Lanczos: on a CPU,
# for what a plan expects.  A solve asks the table of its own device.
DENSE_BELOW = 500
# K, a factor of it and what is beside them, in units of N^2 numbers.
MATRICES = 2.2
# Vectors of N numbers beside the network's values: basis and image (100 each), blocks in work.
VECTORS = 220
LANCZOS_STEPS = 70.0  # two triangular solves each
# Memory traffic makes a flop of a triangular solve ten times dearer than one of a matrix product.
SOLVE_FACTOR = 10.0


def iterative_flops(n: Any) -> Any:
    """Two factorisations of N^3 / 3, and some steps of two triangular solves."""
    return (2.0 / 3.0) * n**3 + LANCZOS_STEPS * 2.0 * SOLVE_FACTOR * n**2


def is_large(n: int, device: Any) -> bool:
    """Whether Lanczos on the inverse beats all eigenvalues there."""
    return n >= devices.on(device, iterative_flops(n)).dense_below


def _dense_flops(n: Any) -> Any:
    return 9.0 * n**3


@dataclass(frozen=True)
class Line:
    """A solver by name, and what a plan has to know of it.

    ``home``: its object, ``module:name``.  ``needs``: ``matrix``, K in memory, and the object is a
    ``MatrixSolver``; or ``rows``, J as shards hold it, and the object is called as
    ``smallest_eigenvalue_block`` is, with ``sharded`` over all the shards there are.  Where K is
    formed: ``flops`` of a solve over orders N, ``squares`` the peak memory, K included, over N^2.
    """

    name: str
    home: str
    needs: Needs = "matrix"
    sharded: bool = False
    flops: Callable[[Any], Any] = iterative_flops
    squares: float = MATRICES

    def __post_init__(self) -> None:
        check_name("need", self.needs, get_args(Needs))


_BLOCK = "lawsweep.kernels.eigmin.block:smallest_eigenvalue_block"
TABLE: tuple[Line, ...] = (
    Line("mixed", "lawsweep.kernels.eigmin.mixed:Mixed"),
    Line("cholesky_lanczos", "lawsweep.kernels.eigmin.cholesky_lanczos:CholeskyLanczos"),
    Line("dense", "lawsweep.kernels.eigmin.dense:Dense", flops=_dense_flops, squares=4.0),
    Line("matrix_free", _BLOCK, needs="rows"),
    Line("sharded", _BLOCK, needs="rows", sharded=True),
)


class MatrixSolver(ABC):
    """lambda_min of symmetric matrices in memory."""

    name: ClassVar[str]
    finds_all: ClassVar[bool] = False
    """It misses no eigenvalue whatever vector it starts from, so a proof is not asked for that."""
    batched: ClassVar[bool] = False
    """It has ``pairs``: many matrices in one call, each as alone."""

    @abstractmethod
    def suits(self, n: int, dtype: torch.dtype, device: torch.device, certify: bool) -> bool:
        """Whether ``auto`` begins with it, if with none before it in the table."""

    @abstractmethod
    def pair(self, problem: Problem) -> Pair | None:
        """The eigenvalues, before they are judged; None: the next of the table is to try."""

    def pairs(
        self, matrices: Tensor, facts: Sequence[Facts], starts: Tensor, tol: float, certify: bool
    ) -> list[Pair]:
        """One for each of ``matrices`` (B, N, N); ``starts`` (B, N) of unit norm."""
        raise NotImplementedError(f"{self.name} takes one matrix at a time")


def names(needs: Needs | None = None) -> tuple[str, ...]:
    """The solvers there are, or those with such a need."""
    if needs is not None:
        check_name("need", needs, get_args(Needs))
    return tuple(line.name for line in TABLE if needs in (None, line.needs))


def line(name: str) -> Line:
    """The line of a solver; ValueError with the valid names where there is none."""
    found = next((line for line in TABLE if line.name == name), None)
    if found is None:
        raise unknown("solver", name, (AUTO, *names()))
    return found


def needs_rows(name: str) -> bool:
    """Whether a solver never forms K."""
    return name != AUTO and line(name).needs == "rows"


def load(name: str) -> Any:
    """The object of a solver."""
    return _object(line(name).home)


@functools.cache
def _object(home: str) -> Any:
    module, _, attribute = home.partition(":")
    return getattr(importlib.import_module(module), attribute)


def chain(
    solver: str, n: int, dtype: torch.dtype, device: torch.device, certify: bool = True
) -> Iterator[MatrixSolver]:
    """The solvers to try on a matrix, in turn: from the named one on, or from one that suits.

    Raises ValueError for a name that is none of a solver of matrices.
    """
    lines = [line for line in TABLE if line.needs == "matrix"]
    check_name("solver", solver, (AUTO, *(line.name for line in lines)))
    begun = False
    for one in lines:
        if begun or solver in (AUTO, one.name):
            found: MatrixSolver = _object(one.home)()
            begun = begun or solver != AUTO or found.suits(n, dtype, device, certify)
            if begun:
                yield found


def first(solver: str, n: int, dtype: torch.dtype, device: torch.device) -> MatrixSolver:
    """The solver that a matrix begins with."""
    return next(chain(solver, n, dtype, device))


def matrix_bytes(n_samples: int, itemsize: int = 8) -> float:
    """Peak memory of a solve that forms K."""
    return MATRICES * itemsize * float(n_samples) ** 2


def matrix_free_bytes(
    n_samples: int, widths: Sequence[int], itemsize: int = 8, *, store: bool = True
) -> float:
    """Peak memory of a matrix-free solve in one shard; of s shards each takes about 1 / s.

    ``widths``: (n_0, ..., n_L).  Features and backprops (``store``; else the inputs alone), the
    vectors, and the preconditioner's columns in float32.
    """
    columns = sum(a + b for a, b in pairwise(widths))
    kept = columns - widths[-1] if store else widths[0]
    n_params = sum(a * b for a, b in pairwise(widths))
    rank = min(columns, n_samples // 8)
    per_sample = itemsize * (kept + VECTORS) + 4 * rank
    return float(n_samples) * per_sample + 8.0 * (4 * n_params + 3 * rank**2)


def network_bytes(n_samples: int, widths: Sequence[int], itemsize: int = 8) -> float:
    """What a forward and a backward pass of so many samples hold at their peak.

    Features, preactivations and backprops, and one more in work.
    """
    hidden = widths[1:-1]
    return float(itemsize) * n_samples * (widths[0] + 3 * sum(hidden) + max(hidden, default=0))


def stores(
    n_samples: int,
    widths: Sequence[int],
    memory_bytes: float,
    *,
    itemsize: int = 8,
    n_shards: int = 1,
) -> bool:
    """Whether a matrix-free solve keeps features and backprops: where they fit.

    Else it makes them anew from the inputs at every product, which takes three times as long.
    """
    return matrix_free_bytes(n_samples, widths, itemsize) / n_shards <= memory_bytes


def choose(
    n_samples: int,
    widths: Sequence[int],
    memory_bytes: float,
    *,
    itemsize: int = 8,
    n_shards: int = 1,
) -> str:
    """``auto``, which forms K, or a solver that needs the rows alone: the first that fits.

    A solve that forms K is certified, so it goes first wherever the network's values, K and a
    factor of it fit in ``memory_bytes`` (of one device).  Past that the others in the table's
    order, on one device or else over ``n_shards`` of them; all first with what ``stores`` asks of,
    then without.  Raises MemoryError where nothing fits.
    """
    formed = matrix_bytes(n_samples, itemsize) + network_bytes(n_samples, widths, itemsize)
    if formed <= memory_bytes:
        return AUTO
    for store in (True, False):
        need = matrix_free_bytes(n_samples, widths, itemsize, store=store)
        for one in TABLE:
            if one.needs == "rows" and need / (n_shards if one.sharded else 1) <= memory_bytes:
                return one.name
    raise MemoryError(
        f"N = {n_samples} needs {need / n_shards:.3g} bytes on each of {n_shards} shards, "
        f"there are {memory_bytes:.3g}; take more shards"
    )
