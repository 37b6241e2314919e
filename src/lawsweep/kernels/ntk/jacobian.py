"""The NTK's Jacobian as an operator: J v and J^T v of some rows, without J and without K.

The gradient of layer l for one sample is the outer product of F_{l-1} (with a 1 where there are
biases) and B_l (see ``ntk``), so over the samples, for one vector v (N,) and one parameter vector
u with blocks U_l (n_{l-1}, n_l),

    (J^T v)_l = F_{l-1}^T diag(v) B_l,        J u = sum_l rowsum((F_{l-1} U_l) o B_l),

and K v = J (J^T v): 4 N p flops a vector and two matrix products a layer, however few vectors
there are.  J^T v is a sum over samples, so rows may live apart: what they exchange is one vector
of length p for each v, and never one of length N.

Features and backprops are either kept (N sum_l (n_{l-1} + n_l) numbers) or, with
``store=False``, computed again from the inputs at every use (4 N p flops more a use, so three
times the work of K v and of memory the inputs alone).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.base import devices, workspace
from lawsweep.kernels.ntk.gram import (
    OutOfRangeError,
    check_layers,
    least_normal,
    linearise,
)

Factors = tuple[Tensor, Tensor | None]


@dataclass(frozen=True, eq=False)
class LayerPairs:
    """Directions of one layer's Jacobian: column k is (F left[:, k]) o (B right[:, k]).

    ``layer``: 1..L; ``left`` (n_{l-1} [+ 1 with biases], a); ``right`` (n_l, b), None for the
    output layer, where B = 1; ``first`` and ``second`` (r,): which columns of either make pair k.
    """

    layer: int
    left: Tensor
    right: Tensor | None
    first: Tensor
    second: Tensor


class NtkRows:
    """Some rows of the Jacobian J of a network, as an operator.

    ``x`` (n, n_0) are these rows' inputs; ``weights``, ``act``, ``biases`` as in ``linearise``;
    ``layers`` the layers whose parameters count (1..L, None for all); ``scales`` one factor s_l a
    layer for gradients in V_l where W_l = s_l V_l (biases: factor 1); ``store`` whether features
    and backprops are kept.  Without batch dimensions.

    Raises ValueError as ``linearise`` and ``check_layers`` do, OutOfRangeError where values leave
    the range of the type.
    """

    def __init__(
        self,
        x: Tensor,
        weights: Sequence[Tensor],
        act: Activation,
        biases: Sequence[Tensor] | None = None,
        *,
        layers: Sequence[int] | None = None,
        scales: Sequence[float] | None = None,
        store: bool = True,
        tile: int | None = None,
    ):
        if x.ndim != 2:
            raise ValueError(f"expected inputs (N, n_0), got {tuple(x.shape)}; take one network")
        if tile is None:
            tile = devices.ROWS_TILE.on(x.device)
        if tile < 1:
            raise ValueError(f"tile must be at least 1 row, got {tile}; leave it out")
        self.layers = check_layers(layers, len(weights))
        if scales is not None and len(scales) != len(weights):
            raise ValueError(f"expected {len(weights)} scales, one a layer, got {len(scales)}")
        self.bias = biases is not None
        self.tile = tile
        self._scales = [1.0] * len(weights) if scales is None else list(scales)
        self._x, self._weights, self._act, self._biases = x, list(weights), act, biases
        self.shapes = [
            (w.shape[0], w.shape[1]) for w in (self._weights[k - 1] for k in self.layers)
        ]
        self.n_params = sum((a + self.bias) * b for a, b in self.shapes)
        self._kept = self._store() if store else None

    @property
    def n_rows(self) -> int:
        """How many samples these are."""
        return int(self._x.shape[0])

    @property
    def dtype(self) -> torch.dtype:
        """The type the network is held in."""
        return self._x.dtype

    @property
    def device(self) -> torch.device:
        """Where the network is held."""
        return self._x.device

    def transposed(self, v: Tensor) -> Tensor:
        """J^T v for vectors ``v`` (b, n), shape (b, p): a gradient in the weights' order.

        Layer by layer dW_l flattened by rows, then db_l.  The arithmetic is done in ``v``'s type.
        """
        self._check(v, self.n_rows)
        b = v.shape[0]
        weight_parts = [v.new_zeros(n0, b * n1) for n0, n1 in self.shapes]
        bias_parts = [v.new_zeros(b, n1) for _, n1 in self.shapes]
        for rows, factors in self._tiles(v.dtype):
            part = v[:, rows].contiguous()
            across = part.mT.contiguous()
            for total, shift, (left, right) in zip(weight_parts, bias_parts, factors, strict=True):
                if right is None:
                    total.addmm_(left.mT, across)
                else:
                    weighted = across.unsqueeze(2) * right.unsqueeze(1)  # (rows, b, n_l)
                    total.addmm_(left.mT, weighted.view(len(right), -1))
                if self.bias:
                    shift.add_(part.sum(1, keepdim=True) if right is None else part @ right)
        flat = []
        for (n0, n1), total, shift in zip(self.shapes, weight_parts, bias_parts, strict=True):
            flat.append(total.view(n0, b, n1).transpose(0, 1).reshape(b, n0 * n1))
            if self.bias:
                flat.append(shift)
        return torch.cat(flat, dim=1)

    def forward(self, u: Tensor) -> Tensor:
        """J u for parameter vectors ``u`` (b, p), shape (b, n)."""
        self._check(u, self.n_params)
        b = u.shape[0]
        weight_parts, bias_parts, at = [], [], 0
        for n0, n1 in self.shapes:
            block = u[:, at : at + n0 * n1].view(b, n0, n1)
            weight_parts.append(block.transpose(0, 1).reshape(n0, b * n1))
            at += n0 * n1
            bias_parts.append(u[:, at : at + n1])
            at += n1 * self.bias
        out = u.new_zeros(b, self.n_rows)
        for rows, factors in self._tiles(u.dtype):
            part = out[:, rows]
            for weight, shift, (left, right) in zip(weight_parts, bias_parts, factors, strict=True):
                image = (left @ weight).view(len(left), b, -1)
                if self.bias:
                    image += shift
                # Over the units of the layer; one output needs no second factor.
                part += (image if right is None else image.mul_(right.unsqueeze(1))).sum(2).mT
        return out

    def diagonal(self) -> Tensor:
        """Diagonal of K on these rows (squared gradient norms), shape (n,).

        Raises OutOfRangeError as ``ntk.diagonal`` does.
        """
        out = self._x.new_zeros(self.n_rows)
        lost = False
        for rows, factors in self._tiles(self.dtype):
            total, some = out[rows], torch.zeros_like(out[rows], dtype=torch.bool)
            for left, right in factors:
                size = left.square().sum(1) + float(self.bias)
                live = (left != 0).any(1) | self.bias
                total += size if right is None else size * right.square().sum(1)
                some |= live if right is None else live & (right != 0).any(1)
            lost |= bool((some & (total < least_normal(self.dtype))).any())
        if lost or not bool(out.sum().isfinite()):
            raise OutOfRangeError(
                f"the network's squared gradient norms leave the range of {self.dtype}; "
                "rescale the weights (or take float64)"
            )
        return out

    def second_moments(self) -> list[tuple[Tensor, Tensor | None]]:
        """For each layer (F^T F, B^T B or None where B = 1), in float64.

        With biases F has a column of ones: (n_{l-1} + 1, n_{l-1} + 1).
        """
        wide = torch.float64
        found: list[tuple[Tensor, Tensor | None]] = []
        for k, (n0, n1) in zip(self.layers, self.shapes, strict=True):
            left = torch.zeros(n0 + self.bias, n0 + self.bias, dtype=wide, device=self.device)
            right = None if k == len(self._weights) else left.new_zeros(n1, n1)
            found.append((left, right))
        for _, factors in self._tiles(self.dtype):
            for (one, two), (left, right) in zip(found, factors, strict=True):
                wider = _augmented(left, self.bias)
                one.add_((wider.mT @ wider).to(wide))
                if two is not None and right is not None:
                    two.add_((right.mT @ right).to(wide))
        return found

    def columns(self, pairs: Sequence[LayerPairs], scale: float, dtype: torch.dtype) -> Tensor:
        """``scale`` times the directions ``pairs`` on these rows, shape (r, n)."""
        sizes = [len(p.first) for p in pairs]
        out = torch.empty(sum(sizes), self.n_rows, dtype=dtype, device=self.device)
        for rows, factors in self._tiles(self.dtype):
            by_layer = dict(zip(self.layers, factors, strict=True))
            parts = []
            for pair in pairs:
                left, right = by_layer[pair.layer]
                one = _augmented(left, self.bias) @ pair.left.to(left)
                columns = one[:, pair.first]
                if right is not None and pair.right is not None:
                    columns = columns * (right @ pair.right.to(right))[:, pair.second]
                parts.append(columns)
            out[:, rows] = torch.cat(parts, dim=1).mul_(scale).mT.to(dtype)
        return out

    def _check(self, block: Tensor, length: int) -> None:
        if block.ndim != 2 or block.shape[1] != length:
            raise ValueError(
                f"expected vectors as rows (b, {length}), got {tuple(block.shape)}; transpose them"
            )

    def _slices(self) -> Iterator[slice]:
        for begin in range(0, self.n_rows, self.tile):
            yield slice(begin, min(begin + self.tile, self.n_rows))

    def _tiles(self, dtype: torch.dtype) -> Iterator[tuple[slice, list[Factors]]]:
        """(rows, [(F_{l-1}, B_l or None)] over the chosen layers), in ``dtype``."""
        for rows in self._slices():
            if self._kept is None:
                factors = self._factors(rows)
            else:
                factors = [(f[rows], None if b is None else b[rows]) for f, b in self._kept]
            yield rows, [(f.to(dtype), None if b is None else b.to(dtype)) for f, b in factors]

    def _factors(self, rows: slice) -> list[Factors]:
        lin = linearise(self._x[rows], self._weights, self._act, self._biases)
        return [
            (self._scaled(lin.features[k - 1], k), None if k == lin.depth else lin.backprops[k - 1])
            for k in self.layers
        ]

    def _scaled(self, features: Tensor, layer: int) -> Tensor:
        scale = self._scales[layer - 1]
        return features if scale == 1.0 else scale * features

    def _store(self) -> list[Factors]:
        """All factors, filled tile by tile: no temporary is larger than a tile's."""
        n, kept = self.n_rows, []
        for k, (n0, n1) in zip(self.layers, self.shapes, strict=True):
            bare = k == 1 and self._scales[0] == 1.0  # the inputs as they are
            left = self._x if bare else workspace.empty(self._x, (n, n0))
            right = None if k == len(self._weights) else workspace.empty(self._x, (n, n1))
            kept.append((left, right))
        for rows in self._slices():
            for (left, right), (f, b) in zip(kept, self._factors(rows), strict=True):
                if left is not self._x:
                    left[rows] = f
                if right is not None and b is not None:
                    right[rows] = b
        return kept


def _augmented(features: Tensor, bias: bool) -> Tensor:
    """F, with a column of ones where there are biases."""
    return torch.cat([features, torch.ones_like(features[:, :1])], 1) if bias else features


def matvec(rows: NtkRows, v: Tensor) -> Tensor:
    """K v for ``v`` (b, N) where ``rows`` are all N samples, shape (b, N): 4 N p flops each."""
    return rows.forward(rows.transposed(v))
