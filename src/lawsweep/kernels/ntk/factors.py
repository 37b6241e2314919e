"""What one layer's gradient is made of, and what is computed from it: all but the Gram's tiles.

The gradient of one sample in W_l is the sum over its rows i (one, or one a token) of the outer
products F[i]^T B[i] (see ``network.layers``), and in b_l of B[i].  So for vectors v (N,) over the
samples and U over the weights,

    J_l^T v = F^T diag(v) B,        J_l U = rowsum((F U) o B),

each summed over the sample's rows: two matrix products, without J_l (N, n_{l-1} n_l).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor


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


@dataclass(frozen=True, eq=False)
class LayerFactors:
    """The factors of layer ``number``: ``features`` F (..., N tokens, a), ``errors`` B.

    B is (..., N tokens, b), None where all of it is 1 (the output layer).  ``scale`` s_l: gradients
    are in V_l, W_l = s_l V_l.  ``bias``: whether gradients in b_l, with the factor 1, count too.
    """

    number: int
    features: Tensor
    errors: Tensor | None
    scale: float = 1.0
    bias: bool = False
    tokens: int = 1

    @property
    def n_samples(self) -> int:
        """N."""
        return int(self.features.shape[-2]) // self.tokens

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Of the weights."""
        return int(self.features.shape[-1]), 1 if self.errors is None else self.errors.shape[-1]

    @property
    def n_params(self) -> int:
        """Weights, and biases where they count."""
        a, b = self.shape
        return (a + self.bias) * b

    @cached_property
    def scaled(self) -> Tensor:
        """s_l F."""
        return self.features if self.scale == 1.0 else self.scale * self.features

    @cached_property
    def _units(self) -> Tensor:
        """Ones (n_l,): a product with them sums short rows faster than a sum does."""
        return self.features.new_ones(self.shape[1])

    @property
    def left(self) -> Tensor:
        """s_l F, with a column of ones where biases count."""
        rows = self.scaled
        return torch.cat([rows, torch.ones_like(rows[..., :1])], -1) if self.bias else rows

    @property
    def back(self) -> Tensor:
        """B, ones where it has none of its own."""
        return torch.ones_like(self.features[..., :1]) if self.errors is None else self.errors

    def map(self, change: Callable[[Tensor], Tensor]) -> LayerFactors:
        """The same of changed tensors."""
        errors = None if self.errors is None else change(self.errors)
        return replace(self, features=change(self.features), errors=errors)

    def of_rows(self, which: slice) -> LayerFactors:
        """Some samples' factors, as views; without batch dimensions."""
        rows = slice(which.start * self.tokens, which.stop * self.tokens)
        return self.map(lambda t: t[rows])

    def squares(self) -> Tensor:
        """Squared gradient norms, the diagonal of K_l, shape (..., N)."""
        if self.tokens > 1:
            a, b = self._by_sample(self.left), self._by_sample(self.back)
            return ((a @ a.mT) * (b @ b.mT)).sum((-2, -1))
        size = torch.linalg.vecdot(self.scaled, self.scaled)  # without a temporary of their size
        if self.bias:
            size = size + 1.0
        return size if self.errors is None else size * torch.linalg.vecdot(self.errors, self.errors)

    def has_gradient(self) -> Tensor:
        """Which samples have some row whose F and B are not 0, shape (..., N)."""
        some = (self.scaled != 0).any(-1) | self.bias
        if self.errors is not None:
            some = some & (self.errors != 0).any(-1)
        return some if self.tokens == 1 else some.unflatten(-1, (-1, self.tokens)).any(-1)

    def rmv(self, v: Tensor) -> Tensor:
        """J_l^T v for vectors ``v`` (b, N), shape (b, p_l): dW_l by rows, then db_l."""
        v = self._by_row(v)
        (n0, n1), b = self.shape, v.shape[0]
        across, right = v.mT.contiguous(), self.errors
        if right is None:
            total = self.scaled.mT @ across
        else:
            weighted = across.unsqueeze(2) * right.unsqueeze(1)  # (rows, b, n_l)
            total = self.scaled.mT @ weighted.view(len(right), -1)
        flat = total.view(n0, b, n1).transpose(0, 1).reshape(b, n0 * n1)
        if not self.bias:
            return flat
        shift = v.sum(1, keepdim=True) if right is None else v @ right
        return torch.cat([flat, shift], dim=1)

    def mv(self, u: Tensor) -> Tensor:
        """J_l u for parameter vectors ``u`` (b, p_l), shape (b, N)."""
        (n0, n1), b, left = self.shape, u.shape[0], self.scaled
        weight = u[:, : n0 * n1].view(b, n0, n1).transpose(0, 1).reshape(n0, b * n1)
        image = (left @ weight).view(len(left), b, n1)
        if self.bias:
            image += u[:, n0 * n1 :]
        # Over the units of the layer; one output needs no second factor.
        if self.errors is None:
            out = image.squeeze(2)
        else:
            out = image.mul_(self.errors.unsqueeze(1)).sum(2)
        out = out.mT
        return out if self.tokens == 1 else out.unflatten(-1, (-1, self.tokens)).sum(-1)

    def add_rmv(self, v: Tensor, out: Tensor, beta: int) -> None:
        """``out`` (p_l,) <- ``beta`` ``out`` + J_l^T v for one ``v`` (N,), in the fewest calls."""
        v = self._by_row(v)
        (n0, n1), left, right = self.shape, self.scaled.mT, self.errors
        weight, shift = out.split([n0 * n1, n1]) if self.bias else (out, None)
        if right is None:
            weight.addmv_(left, v, beta=beta)
        else:
            weight.view(n0, n1).addmm_(left, right * v.unsqueeze(1), beta=beta)
        if shift is not None:
            shift.addmv_(self.back.mT, v, beta=beta)

    def add_mv(self, u: Tensor, out: Tensor) -> None:
        """``out`` (N,) <- ``out`` + J_l u for one ``u`` (p_l,)."""
        (n0, n1), left = self.shape, self.scaled
        weight, shift = u.split([n0 * n1, n1]) if self.bias else (u, None)
        image = left @ weight.view(n0, n1)
        if shift is not None:
            image += shift
        if self.errors is not None:
            image.mul_(self.errors)
        if self.tokens > 1:
            out += self._by_sample(image).sum((-2, -1))
        else:
            out.addmv_(image, self._units)

    def rows(self) -> Tensor:
        """J_l itself, (N, p_l)."""
        left, right = self._by_sample(self.scaled), self._by_sample(self.back)
        parts = [(left.mT @ right if self.tokens > 1 else left.mT * right).flatten(1)]
        if self.bias:
            parts.append(right.sum(1))
        return torch.cat(parts, 1)

    def second_moments(self) -> tuple[Tensor, Tensor | None]:
        """(F^T F, B^T B or None where B = 1); F has a column of ones where biases count."""
        left, right = self.left, self.errors
        return left.mT @ left, None if right is None else right.mT @ right

    def directions(self, pairs: LayerPairs) -> Tensor:
        """The columns ``pairs`` on these samples, (N, r)."""
        left = self.left
        columns = (left @ pairs.left.to(left))[:, pairs.first]
        if self.errors is not None and pairs.right is not None:
            columns = columns * (self.errors @ pairs.right.to(left))[:, pairs.second]
        return columns if self.tokens == 1 else columns.unflatten(0, (-1, self.tokens)).sum(1)

    def _by_row(self, v: Tensor) -> Tensor:
        """Vectors (..., N) over the samples as such over the rows of factors."""
        return v if self.tokens == 1 else v.repeat_interleave(self.tokens, dim=-1)

    def _by_sample(self, rows: Tensor) -> Tensor:
        """(..., N, tokens, n)."""
        return rows.unflatten(-2, (-1, self.tokens))
