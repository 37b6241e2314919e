"""Which rows of a matrix are multiples of one another in exact arithmetic, never by a tolerance.

The numbers given are taken at their word: 3 x computed in floating point is mostly no multiple of
x, as its entries were rounded, and what follows from a multiple (an exact zero) does not follow
from a near one.

If y = c x exactly, then y_j / y_p and x_j / x_p are one real number, so their correctly rounded
quotients are equal: that finds the candidates.  x_j y_p = y_j x_p for all j decides, each product
as the unevaluated sum of its rounded value and its error (T. J. Dekker, Numer. Math. 18, 1971).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.base.exact import exact_product, scaled_rows


@dataclass(frozen=True, eq=False)
class Directions:
    """Of rows (N, d): ``line`` (N,), one label for all multiples of a row, -1 for a row of zeros;
    ``positive`` (N,): the sign of a row among those of one label.  ``apart``: none share a line
    and none is zero, as was seen at once."""

    line: Tensor
    positive: Tensor
    apart: bool

    @property
    def n_lines(self) -> int:
        """Number of different lines: an upper bound on the rank."""
        return len(self.line if self.apart else torch.unique(self.line[self.line >= 0]))

    @property
    def rays(self) -> Tensor:
        """One label for all positive multiples of a row, -1 for zeros, shape (N,)."""
        return torch.where(self.line >= 0, 2 * self.line + self.positive, -1)


def directions(rows: Tensor) -> Directions:
    """The lines that the rows (N, d) lie on.  O(N d) where no two may share one, else O(N d log N).

    Rows whose entries span more than 900 binary orders are taken for multiples of none.
    """
    line = torch.arange(len(rows), device=rows.device)
    positive = torch.ones_like(line, dtype=torch.bool)
    some = may_share_a_line(rows).nonzero().squeeze(1)
    if not len(some):
        return Directions(line, positive, True)
    x, spanned = scaled_rows(rows[some].to(torch.float64))
    pivot = x.abs().argmax(1, keepdim=True)
    top = x.gather(1, pivot)
    positive[some] = (top > 0).squeeze(1)
    zero = (top == 0).squeeze(1)
    line[some[zero]] = -1
    left = (~zero & spanned).nonzero().squeeze(1)
    while len(left):
        quotients = x[left] / top[left] + 0.0
        _, group = torch.unique(quotients, dim=0, return_inverse=True)
        leader = torch.full_like(left, len(x)).scatter_reduce_(0, group, left, "amin")[group]
        same = _proportional(x[left], x[leader], pivot[leader])
        line[some[left[same]]] = some[leader[same]]
        left = left[~same]
    return Directions(line, positive, False)


def may_share_a_line(rows: Tensor) -> Tensor:
    """Which rows (..., N, d) may be a multiple of another, or zero, by their first two entries."""
    if rows.shape[-1] < 2:
        return torch.ones_like(rows[..., 0], dtype=torch.bool)
    quotient = (rows[..., 0] / rows[..., 1]).abs()
    return quotient.isnan() | shared(quotient)


def shared(values: Tensor) -> Tensor:
    """Which numbers (..., N) occur more than once, shape (..., N)."""
    ordered, order = values.sort(dim=-1)
    equal = ordered[..., 1:] == ordered[..., :-1]
    none = equal.new_zeros((*equal.shape[:-1], 1))
    either = torch.cat([none, equal], -1) | torch.cat([equal, none], -1)
    return torch.zeros_like(either).scatter_(-1, order, either)


def input_rank(x: Tensor, bias: bool, rows: Directions) -> int:
    """A bound on the rank of x (N, d), with a column of ones beside it where there are biases.

    By its columns that are zero or multiples of one another, and by its ``rows`` where some of
    them are: nominal, d [+1], where there are none such.
    """
    n, d = x.shape
    if n == 1:
        return int(d) + bias
    rank = directions(x.mT).n_lines
    if bias:
        equal = x[0] == x[1]
        constant = equal & (x[0] != 0)
        if bool(constant.any()):
            constant[constant.clone()] = (x[:, constant] == x[0, constant]).all(0)
        rank += 1 - int(constant.any())
    return min(rank, rows.n_lines + bias) if rows.n_lines < n else rank


def _proportional(x: Tensor, y: Tensor, pivot: Tensor) -> Tensor:
    """Whether x_j y_p = y_j x_p for all j, exactly, for each pair of rows, p its ``pivot``."""
    first, second = exact_product(x, y.gather(1, pivot)), exact_product(y, x.gather(1, pivot))
    return torch.stack([(a == b).all(1) for a, b in zip(first, second, strict=True)]).all(0)
