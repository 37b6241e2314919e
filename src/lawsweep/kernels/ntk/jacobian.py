"""The NTK's Jacobian as an operator: J v and J^T v of some rows, without J and without K.

K v = J (J^T v) takes 4 N p flops a vector and two matrix products a layer (``factors``), however
few vectors there are.  J^T v is a sum over samples, so rows may live apart: what they exchange is
one vector of length p for each v, and never one of length N.

Features and errors are either kept (N sum_l (n_{l-1} + n_l) numbers) or, with ``store=False``,
computed again from the inputs at every use (4 N p flops more a use, so three times the work of
K v and of memory the inputs alone).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lawsweep.kernels.base import devices, workspace
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk.factors import LayerFactors, LayerPairs
from lawsweep.kernels.ntk.gram import check_squares, gram_block, gram_of, squares_seen
from lawsweep.kernels.ntk.linearisation import Linearisation, linearise, passes


class Jacobian:
    """Some rows of J (N, p) as a ``LinearMap``, one network's: ``of`` and ``on`` make it.

    Columns: the parameters that count, layer by layer, W_l by rows and then b_l.  Arithmetic is
    done in the type of the vectors that are given.
    """

    def __init__(
        self,
        network: Network,
        layers_of: Callable[[slice], Sequence[LayerFactors]],
        like: Tensor,
        tile: int | None,
    ) -> None:
        self.network, self.numbers = network, network.chosen
        self.n_rows, self.dtype, self.device = len(like), like.dtype, like.device
        self.tile = devices.on(like.device).rows_tile if tile is None else tile
        if self.tile < 1:
            raise ValueError(f"tile must be at least 1 row, got {tile}; leave it out")
        self._layers_of = layers_of
        # Of tiles whose values are not known yet to be in range; asked of all together.
        self._seen: list[Tensor] | None = None
        self._again: Callable[[slice], object] | None = None
        bias = int(network.counts_bias)
        self._shapes = [network.shapes[k - 1] for k in self.numbers]
        self._sizes = [(a + bias) * b for a, b in self._shapes]

    @classmethod
    def of(cls, lin: Linearisation, *, tile: int | None = None) -> Jacobian:
        """Of what is at hand; ValueError for a batch of networks."""
        if lin.batch:
            raise ValueError(f"expected one network, got a batch of {lin.batch}; take a member")
        kept = [replace(f, features=f.scaled, scale=1.0) for f in lin.layers]
        network = replace(lin.network, layers=lin.chosen, conjugate=False)
        network = replace(network, bias=kept[0].bias)
        return cls(network, _cut(kept), lin.outputs, tile)

    @classmethod
    def on(
        cls,
        network: Network,
        weights: Sequence[Tensor],
        inputs: Tensor,
        biases: Sequence[Tensor] | None = None,
        *,
        store: bool = True,
        tile: int | None = None,
    ) -> Jacobian:
        """On ``inputs`` (n, n_0), by tiles; ``store``: whether features and errors are kept.

        Raises ValueError as ``linearise`` does, OutOfRangeError where values leave the range of the
        type.
        """
        if inputs.ndim != 2:
            raise ValueError(
                f"expected inputs (N, n_0), got {tuple(inputs.shape)}; take one network"
            )

        def anew(rows: slice) -> Sequence[LayerFactors]:
            passed = passes(network, weights, inputs[rows], biases)
            if found._seen is not None:
                found._seen.append(passed.in_range)
            return passed.lin.layers

        found = cls(network, anew, inputs, tile)
        found._seen, found._again = (
            [],
            lambda rows: linearise(network, weights, inputs[rows], biases),
        )
        if store:
            found._layers_of = _cut(found._store(inputs))
        return found

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, parameters that count)."""
        return self.n_rows, self.n_params

    @property
    def n_params(self) -> int:
        """How many parameters count."""
        return sum(self._sizes)

    def rmv(self, v: Tensor) -> Tensor:
        """J^T v for vectors ``v`` (b, n) or (n,): a gradient in the parameters' order."""
        v = self._check(v, self.n_rows)
        if v.ndim == 1:
            out = v.new_empty(self.n_params)
            parts = out.split(self._sizes)
            for rows, layers in self._tiles(v.dtype):
                here, beta = v[rows], int(rows.start > 0)
                for f, part in zip(layers, parts, strict=True):
                    f.add_rmv(here, part, beta)
            return out
        total: list[Tensor] = []
        for rows, layers in self._tiles(v.dtype):
            found = [f.rmv(v[:, rows]) for f in layers]
            total = [t.add_(p) for t, p in zip(total, found, strict=True)] if total else found
        return torch.cat(total, dim=1)

    def mv(self, u: Tensor) -> Tensor:
        """J u for parameter vectors ``u`` (b, p) or (p,)."""
        u = self._check(u, self.n_params)
        parts = u.split(self._sizes, dim=-1)
        out = u.new_zeros(*u.shape[:-1], self.n_rows)
        for rows, layers in self._tiles(u.dtype):
            here = out[..., rows]
            for f, part in zip(layers, parts, strict=True):
                if u.ndim == 1:
                    f.add_mv(part, here)
                else:
                    here += f.mv(part)
        return out

    def squares(self) -> Tensor:
        """Squared norms of the rows, diag K, shape (n,).

        Raises OutOfRangeError as ``gram.diagonal`` does.
        """
        tiles = [squares_seen(layers) for _, layers in self._tiles(self.dtype)]
        found = torch.cat([total for total, _ in tiles])
        check_squares(found, torch.stack([lost for _, lost in tiles]).any())
        return found

    def rows(self, which: slice) -> Tensor:
        """Some rows of J itself, (k, p)."""
        return torch.cat([f.rows() for f in self._at(self._within(which))], dim=1)

    def dense(self) -> Tensor:
        """J, (n, p)."""
        return self.rows(slice(0, self.n_rows))

    def split(self, flat: Tensor) -> list[Tensor]:
        """A vector (p,) as W_l (n_{l-1}, n_l) of each layer that counts, without biases."""
        parts = flat.split(self._sizes)
        return [p[: a * b].view(a, b) for p, (a, b) in zip(parts, self._shapes, strict=True)]

    def second_moments(
        self, dtype: torch.dtype = torch.float64
    ) -> list[tuple[Tensor, Tensor | None]]:
        """For each layer (F^T F, B^T B or None where B = 1), added up in ``dtype``.

        With biases F has a column of ones: (n_{l-1} + 1, n_{l-1} + 1).
        """
        found: list[tuple[Tensor, Tensor | None]] = []
        for _, layers in self._tiles(self.dtype):
            here = [_as(f.second_moments(), dtype) for f in layers]
            for (one, two), (left, right) in zip(found, here, strict=False):
                one.add_(left)
                if two is not None and right is not None:
                    two.add_(right)
            found = found or here
        return found

    def columns(self, pairs: Sequence[LayerPairs], scale: float, dtype: torch.dtype) -> Tensor:
        """``scale`` times the directions ``pairs`` on these rows, shape (r, n)."""
        size = sum(len(p.first) for p in pairs)
        out = torch.empty(size, self.n_rows, dtype=dtype, device=self.device)
        for rows, layers in self._tiles(self.dtype):
            by_number = dict(zip(self.numbers, layers, strict=True))
            parts = [by_number[pair.layer].directions(pair) for pair in pairs]
            out[:, rows] = torch.cat(parts, dim=1).mul_(scale).mT.to(dtype)
        return out

    def kernel(self) -> Kernel:
        """K = J J^T of these rows."""
        return Kernel(self)

    def _check(self, block: Tensor, length: int) -> Tensor:
        if block.ndim not in (1, 2) or block.shape[-1] != length:
            raise ValueError(
                f"expected vectors as rows (b, {length}), got {tuple(block.shape)}; transpose them"
            )
        return block

    def _within(self, which: slice) -> slice:
        begin, end, _ = which.indices(self.n_rows)
        return slice(begin, end)

    def _slices(self) -> Iterator[slice]:
        for begin in range(0, self.n_rows, self.tile):
            yield slice(begin, min(begin + self.tile, self.n_rows))

    def _tiles(self, dtype: torch.dtype) -> Iterator[tuple[slice, Sequence[LayerFactors]]]:
        """(rows, the factors of the layers that count), in ``dtype``."""
        for rows in self._slices():
            layers = self._layers_of(rows)
            same = layers[0].features.dtype is dtype
            yield rows, layers if same else [f.map(lambda t: t.to(dtype)) for f in layers]
        self._settle()
        self._seen = None

    def _at(self, rows: slice) -> Sequence[LayerFactors]:
        """The factors on some rows, in range."""
        layers = self._layers_of(rows)
        self._settle()
        return layers

    def _settle(self) -> None:
        """OutOfRangeError where a tile that was looked at leaves the range; one answer for all.

        A tile is computed anew at each use, and comes out alike: after all were seen none is asked.
        """
        if self._seen and self._again and not bool(torch.stack(self._seen).all()):
            for rows in self._slices():
                self._again(rows)
        if self._seen:
            self._seen = []

    def _store(self, inputs: Tensor) -> list[LayerFactors]:
        """All factors, scaled, filled tile by tile: no temporary is larger than a tile's."""
        kept: list[LayerFactors] = []
        for rows in self._slices():
            layers = self._layers_of(rows)
            if not kept:
                kept = [_room(f, inputs) for f in layers]
            for whole, f in zip(kept, layers, strict=True):
                part = whole.of_rows(rows)
                if whole.features is not inputs:
                    part.features.copy_(f.scaled)
                if part.errors is not None and f.errors is not None:
                    part.errors.copy_(f.errors)
        self._settle()
        self._seen = None
        return kept


def _as(moments: tuple[Tensor, Tensor | None], dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    left, right = moments
    return left.to(dtype), None if right is None else right.to(dtype)


def _cut(kept: Sequence[LayerFactors]) -> Callable[[slice], Sequence[LayerFactors]]:
    """Some samples' part of what is at hand: of all, that itself."""
    n = kept[0].n_samples

    def layers_of(rows: slice) -> Sequence[LayerFactors]:
        return kept if rows == slice(0, n) else [f.of_rows(rows) for f in kept]

    return layers_of


def _room(layer: LayerFactors, inputs: Tensor) -> LayerFactors:
    """Memory for all samples of what ``layer`` is for some of them; the inputs as they are."""
    bare = layer.number == 1 and layer.scale == 1.0 and layer.features.shape[1] == inputs.shape[1]
    n = len(inputs) * layer.tokens

    def empty(like: Tensor) -> Tensor:
        return workspace.empty(like, (n, like.shape[1]))

    return replace(
        layer,
        features=inputs if bare else empty(layer.features),
        errors=None if layer.errors is None else empty(layer.errors),
        scale=1.0,
    )


@dataclass(frozen=True, eq=False)
class Kernel:
    """K = J J^T as an ``Operator``: products through J, its rows and itself by the Gram's tiles."""

    jacobian: Jacobian

    @property
    def shape(self) -> tuple[int, int]:
        """(N, N)."""
        return self.jacobian.n_rows, self.jacobian.n_rows

    @property
    def dtype(self) -> torch.dtype:
        """The network's type."""
        return self.jacobian.dtype

    @property
    def device(self) -> torch.device:
        """The network's device."""
        return self.jacobian.device

    def mv(self, v: Tensor) -> Tensor:
        """K v for ``v`` (b, N) or (N,): 4 N p flops each."""
        return self.jacobian.mv(self.jacobian.rmv(v))

    def rmv(self, v: Tensor) -> Tensor:
        """The same: K is symmetric."""
        return self.mv(v)

    def diagonal(self) -> Tensor:
        """Squared gradient norms, (N,)."""
        return self.jacobian.squares()

    def rows(self, which: slice) -> Tensor:
        """K[which], (k, N)."""
        return gram_block(self._layers(), self.jacobian._within(which))

    def dense(self) -> Tensor:
        """K (N, N), exactly symmetric."""
        return gram_of(self._layers())

    def _layers(self) -> Sequence[LayerFactors]:
        return self.jacobian._at(slice(0, self.jacobian.n_rows))
