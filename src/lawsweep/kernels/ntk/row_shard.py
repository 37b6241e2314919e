"""The rows of one shard: its part of the Jacobian and of every vector of an eigensolver.

A row-sharded solve is a program of small numbers over shards that each hold some samples: their
part of J, of the basis V and its image W = K V, of the preconditioner's columns A, and of the
block T in work.  A step tells every shard the same coefficients and adds up what they answer in
the order of the shards, so a solve depends on their number and on nothing else.  What travels:
coefficients and Gram matrices of the basis, (r, b) blocks of the preconditioner, second moments
(n, n), and J^T T, a vector of the weights' length for each column.  Never anything of length N.

Blocks of b vectors are stored as rows, (b, n).  Methods take tensors or arrays and return float64,
whatever the shard computes in: numpy arrays, which may travel between processes, or after ``stay``
tensors on the shard's device, so that a solve of one process waits for the device when it decides
and not to pass numbers on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base import devices
from lawsweep.kernels.base.collective import PATIENCE_S, Group, Meeting
from lawsweep.kernels.base.names import named
from lawsweep.kernels.base.precision import in_full_precision
from lawsweep.kernels.data import sampling
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk.factors import LayerPairs
from lawsweep.kernels.ntk.jacobian import Jacobian

Array = np.ndarray
Answer: TypeAlias = np.ndarray | Tensor
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: its multiples spread


class Shards(Protocol):
    """All shards of one operator, wherever they live.

    ``in_process``: whether all are in the caller's process, on one device.  ``meet_at``: address of
    the first one's machine, where they add up what is large themselves; else empty.
    """

    in_process: bool
    meet_at: str

    def each(self, method: str, *args: Any) -> list[Any]:
        """Call ``method(*args)`` on every shard; the answers in the order of the shards."""


class InProcess:
    """Shards in this process, one after the other."""

    in_process = True
    meet_at = ""

    def __init__(self, shards: Sequence[RowShard]):
        self._shards = list(shards)

    def each(self, method: str, *args: Any) -> list[Any]:
        """Call ``method(*args)`` on every shard."""
        return [getattr(shard, method)(*args) for shard in self._shards]


@in_full_precision
class RowShard:
    """Rows ``begin .. begin + rows.n_rows`` of the whole, and an eigensolver's state on them."""

    def __init__(self, rows: Jacobian, begin: int = 0, index: int = 0, n_shards: int = 1):
        self._rows, self._begin, self._place = rows, begin, (index, n_shards)
        self._meeting: Meeting | None = None
        self._group: Group | None = None
        n, like = rows.n_rows, torch.empty(0, dtype=rows.dtype, device=rows.device)
        self._like = like
        self._columns = like.new_empty(0, n, dtype=torch.float32)  # A^T
        self._basis, self._image = like.new_empty(0, n), like.new_empty(0, n)
        self._block = like.new_empty(0, n)
        self._size, self._travels = 0, True

    def stay(self) -> None:
        """Answer with tensors on this shard's device from now on: who asks is in this process."""
        self._travels = False

    def meet(self, host: str, patience_s: float = PATIENCE_S) -> tuple[str, int] | None:
        """Of the first shard the address at which all are to ``join``, on its machine ``host``."""
        self._meeting = None if self._place[0] else Meeting(host, patience_s)
        return None if self._meeting is None else self._meeting.address

    def join(self, address: tuple[str, int], patience_s: float = PATIENCE_S) -> None:
        """Meet the other shards there, for ``expand``; all do at the same time."""
        self._group = Group(self._meeting or address, *self._place, self._like.device, patience_s)

    def facts(self) -> dict[str, float]:
        """This shard's part of N, tr K and min K_ii; p and the unit roundoff."""
        diagonal = self._rows.squares()
        return {
            "n_rows": self._rows.n_rows,
            "trace": float(diagonal.sum(dtype=torch.float64)),
            "min_diagonal": float(diagonal.min()),
            "n_params": self._rows.n_params,
            "eps": float(torch.finfo(self._rows.dtype).eps),
        }

    def second_moments(self) -> list[tuple[Answer, Answer | None]]:
        """``Jacobian.second_moments`` of these rows."""
        return [
            (self._out(left), None if right is None else self._out(right))
            for left, right in self._rows.second_moments()
        ]

    def set_columns(self, pairs: Sequence[Mapping[str, Any]], scale: float) -> Answer:
        """Take the preconditioner's columns A = ``scale`` ``pairs`` here; returns A^T A, (r, r).

        ``pairs`` are LayerPairs as mappings of arrays.  A is kept in float32: its rounding moves
        an eigenvalue of M by 1e-7 of the largest, which a preconditioner may, and half the bytes
        is half the time.
        """
        chosen = [LayerPairs(**{k: self._in(v) for k, v in pair.items()}) for pair in pairs]
        self._columns = self._rows.columns(chosen, scale, torch.float32)
        inner = self._like.new_zeros(len(self._columns), len(self._columns), dtype=torch.float64)
        step = devices.on(self._like.device).basis_rows
        for begin in range(0, self._rows.n_rows, step):
            part = self._columns[:, begin : begin + step].to(torch.float64)
            inner.addmm_(part, part.mT)
        return self._out(inner)

    def begin(self, max_basis: int) -> None:
        """Forget the basis and make room for ``max_basis`` vectors."""
        n = self._rows.n_rows
        if len(self._basis) != max_basis:
            self._basis = self._like.new_empty(max_basis, n)
            self._image = self._like.new_empty(max_basis, n)
        self._size = 0

    def draw(self, key: int, n_vectors: int) -> None:
        """T = random numbers, a function of ``key`` and a sample's place alone.

        Bit j of word i of a counter-based generator is the sign of sample i in vector j (64 at
        most), so that sharding draws the same; the word times an odd number gives a size from 7/8
        to 9/8.  Signs alone would be orthogonal to e_i - e_k half of the time, which is the vector
        sought where samples i and k all but coincide.
        """
        generator = np.random.Philox(key=key)
        generator.advance(self._begin // 4)  # four words a step of the counter
        skip = self._begin % 4
        words = generator.random_raw(skip + self._rows.n_rows)[skip:]
        place = np.arange(n_vectors, dtype=np.uint64)[:, None]
        signs = ((words[None, :] >> place) & np.uint64(1)).astype(np.float64) * 2.0 - 1.0
        mixed = words[None, :] * (GOLDEN * (np.uint64(2) * place + np.uint64(1)))  # modulo 2^64
        sizes = 0.875 + (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-55
        self._block = self._in(signs * sizes)

    def overlaps(self) -> Answer:
        """[V; T] T^T, shape (m + b, b)."""
        own = _wide(self._block @ self._block.mT)
        return self._out(torch.cat([_wide(self._basis[: self._size] @ self._block.mT), own]))

    def project(self, coefficients: Answer, mix: Answer) -> Answer:
        """T <- mix^T (T - coefficients^T V); returns the new ``overlaps``."""
        basis = self._basis[: self._size]
        rest = self._block - self._in(coefficients).mT @ basis
        self._block = self._in(mix).mT @ rest
        return self.overlaps()

    def transposed(self) -> Answer:
        """J^T T on these rows, (b, p): the sum over shards is J^T T."""
        return self._out(self._rows.rmv(self._block))

    def expand(self) -> Answer:
        """``transposed``, added up among the shards where they are, and ``append`` of that."""
        assert self._group is not None  # they have joined
        return self.append(self._group.add_up(_wide(self._rows.rmv(self._block)).contiguous()))

    def append(self, gradients: Answer) -> Answer:
        """Add T to V and J ``gradients`` = K T to W; returns [V; T] (K T)^T, (m + b, b)."""
        image = self._rows.mv(self._in(gradients))
        m, b = self._size, len(self._block)
        self._basis[m : m + b], self._image[m : m + b] = self._block, image
        self._size = m + b
        return self._out(self._basis[: self._size] @ image.mT)

    def residuals(self, coefficients: Answer, values: Answer, scale: float) -> Answer:
        """T <- ``scale`` (W s - theta V s), residuals of Ritz pairs (s (m, b), theta (b,)).

        Returns their squared norms above A^T T, (1 + r, b).
        """
        s = self._in(coefficients).mT
        block = s @ self._image[: self._size]
        block -= self._in(values).unsqueeze(1) * (s @ self._basis[: self._size])
        self._block = block * scale
        squares = _wide(self._block.square().sum(1, keepdim=True).mT)
        return self._out(torch.cat([squares, _wide(self._onto_columns())]))

    def precondition(self, coefficients: Answer, c: float) -> Answer:
        """T <- (T - A coefficients) / c; returns the new ``overlaps``."""
        part = self._in(coefficients).mT.to(torch.float32) @ self._columns
        self._block = (self._block - part.to(self._block)) / c
        return self.overlaps()

    def project_columns(self) -> Answer:
        """A^T T, (r, b)."""
        return self._out(self._onto_columns())

    def compress(self, rotation: Answer) -> None:
        """V <- V Q, W <- W Q for ``rotation`` Q (m, k), k <= m."""
        q = self._in(rotation).mT
        m, k = self._size, len(q)
        for block in (self._basis, self._image):
            step = devices.on(self._like.device).basis_rows
            for begin in range(0, self._rows.n_rows, step):
                part = slice(begin, begin + step)
                block[:k, part] = q @ block[:m, part]
        self._size = k

    def pick(self, coefficients: Answer) -> Answer:
        """T <- V s in float64, whatever the basis is held in; returns T T^T (b, b)."""
        self._block = _wide(self._in(coefficients).mT @ self._basis[: self._size])
        return self._out(self._block @ self._block.mT)

    def misfit(self, gradients: Answer, values: Answer) -> Answer:
        """Squared norms of J ``gradients`` - theta T on these rows, (b,)."""
        dtype = self._block.dtype  # float64, whatever the basis is held in
        theta = self._in(values, dtype).unsqueeze(1)
        rest = self._rows.mv(self._in(gradients, dtype)) - theta * self._block
        return self._out(rest.square().sum(1))

    def _onto_columns(self) -> Tensor:
        return self._columns @ self._block.to(torch.float32).mT

    def _in(self, value: Any, dtype: torch.dtype | None = None) -> Any:
        """Numbers as a tensor of this shard's device, floating ones of its type or ``dtype``."""
        if isinstance(value, Tensor):
            floating = value.is_floating_point()
            return value.to(self._like.device, (dtype or self._like.dtype) if floating else None)
        if not isinstance(value, np.ndarray):
            return value
        # A copy: an array from another process may be read-only memory.
        floating = np.issubdtype(value.dtype, np.floating)
        kind = (dtype or self._like.dtype) if floating else torch.int64
        return torch.tensor(value, dtype=kind, device=self._like.device)

    def _out(self, tensor: Tensor) -> Answer:
        if not self._travels:
            return _wide(tensor)
        array: Array = tensor.to(device="cpu", dtype=torch.float64).numpy()
        return array


@dataclass(frozen=True, eq=False)
class NtkShards:
    """How to make the shards of a network's Jacobian, anywhere: pickled, then called there.

    ``rows(begin, end)`` gives inputs (end - begin, n_0), a float64 array or a tensor, which is not
    copied where it has the type and device asked for; ``weights`` and ``biases`` are float64
    arrays; the others as in ``Jacobian.on``.
    """

    n_samples: int
    rows: Callable[[int, int], Array | Tensor]
    network: Network
    weights: Sequence[Array]
    biases: Sequence[Array] | None = None
    dtype: str = "float64"
    device: str = "cpu"
    store: bool = True

    def __call__(self, index: int, n_shards: int) -> RowShard:
        """Shard ``index`` of ``n_shards``, of equal sizes but for one row."""
        if not 0 <= index < n_shards <= self.n_samples:
            raise ValueError(
                f"expected shard 0 <= index < n_shards <= {self.n_samples} samples, "
                f"got {index} of {n_shards}; take fewer shards"
            )
        begin = index * self.n_samples // n_shards
        end = (index + 1) * self.n_samples // n_shards
        biases = None if self.biases is None else [self._tensor(b) for b in self.biases]
        weights = [self._tensor(w) for w in self.weights]
        rows = Jacobian.on(
            self.network, weights, self._inputs(begin, end), biases, store=self.store
        )
        return RowShard(rows, begin, index, n_shards)

    def in_process(self, n_shards: int = 1) -> InProcess:
        """All shards in this process."""
        return InProcess([self(index, n_shards) for index in range(n_shards)])

    def _inputs(self, begin: int, end: int) -> Tensor:
        given = self.rows(begin, end)
        if isinstance(given, np.ndarray):
            # An array from another process may be read-only memory.
            given = torch.from_numpy(given if given.flags.writeable else given.copy())
        return given.to(self.device, named("dtype", self.dtype, sampling.DTYPES))

    def _tensor(self, array: Array) -> Tensor:
        return torch.tensor(
            np.asarray(array),
            dtype=named("dtype", self.dtype, sampling.DTYPES),
            device=self.device,
        )


@dataclass(frozen=True, eq=False)
class DrawnRows:
    """Inputs of a law, drawn where they are needed: ``rows(begin, end)`` of ``NtkShards``.

    ``generator`` is copied at each call: the rows are those of ``sampling.rows`` from it.
    """

    law: str
    generator: np.random.Generator
    input_dim: int

    def __call__(self, begin: int, end: int) -> Array:
        """Rows ``begin .. end`` in float64; rows before them are drawn and dropped."""
        generator, at = copy.deepcopy(self.generator), 0
        while at < begin:
            size = min(devices.SKIPPED_ROWS, begin - at)
            sampling.rows(self.law, generator, size, self.input_dim)
            at += size
        drawn: Array = sampling.rows(self.law, generator, end - begin, self.input_dim).numpy()
        return drawn


@dataclass(frozen=True, eq=False)
class GivenRows:
    """Inputs that are at hand, (N, n_0): ``rows(begin, end)`` of ``NtkShards``, as a view."""

    x: Array | Tensor

    def __call__(self, begin: int, end: int) -> Array | Tensor:
        """Rows ``begin .. end``."""
        return self.x[begin:end]


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float64)
