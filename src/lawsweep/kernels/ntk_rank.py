"""When the NTK Gram matrix is singular for a reason that can be named.

K = J J^T has rank at most that of the N x p Jacobian J, so linear relations among J's columns
(parameters) or rows (samples) force lambda_min = 0 exactly.  Solving for such a zero returns
rounding noise of either sign; naming it returns the truth.  Derived for this project and checked
against the singular values of J; not statements of the papers.

Columns.
- Layer l contributes (n_{l-1} [+1]) n_l columns; K_l has rank(F_{l-1} [, 1]) rank(B_l) at most.
- ReLU and leaky ReLU satisfy sigma'(g) g = sigma(g).  For hidden unit j of layer l, summing
  G_l[j] B_l[j] in two ways gives one relation among the columns,
      sum_i W_l[i, j] dW_l[i, j] + b_l[j] db_l[j] = sum_k W_{l+1}[j, k] dW_{l+1}[j, k],
  wherever layers l and l+1 both take part: one rank less for each hidden unit, with biases too.
  Summed over the units of the layers between, without biases: f = <W_l, dW_l> for every l, so
  two layers that take part with none between them lose one rank together.
- One input column and no bias: ReLU features scale with |x|, so all samples of one sign have
  parallel gradients and the rank is 2 at most.
- A linear network's gradient is linear (affine) in x: rank <= the narrowest n before the first
  layer that takes part [+1].
- ReLU: the column of W_l[i, j] is 0 unless units i and j are on together for some sample; only
  live columns count, and only relations of units with a live column above them.

Rows.
- Equal samples; without biases x and -x too where sigma is odd (F_l is odd, sigma' even).
- ReLU, a sample with a whole layer off: every F after it and every B before it is 0.  Without
  biases its gradient is 0.  With biases the gradient is that of a constant input above, so two
  samples off in the same layer have equal gradients.
- ReLU and leaky ReLU: samples with one and the same pattern of units on lie in one linear region,
  where the gradient is linear (affine) in x: more than n_0 [+1] of them are dependent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import torch
from torch import Tensor

from lawsweep.kernels.activations import ACTIVATIONS, Activation
from lawsweep.kernels.names import check_name
from lawsweep.kernels.ntk import KINKED, Linearisation, check_layers, member

HOMOGENEOUS = KINKED
ODD = frozenset({"tanh", "erf", "linear"})


class ZeroReason(StrEnum):
    """Why lambda_min is exactly 0."""

    RANK = "n_samples exceeds the rank bound"
    DUPLICATE = "duplicate samples"
    ANTIPODAL = "samples x and -x under an odd activation without bias"
    ZERO_GRADIENT = "a sample has zero gradient"
    EQUAL_DEAD = "two samples with the same layer off have equal gradients"
    CROWDED_REGION = "more samples in one linear region than input dimensions"


@dataclass(frozen=True)
class RankReport:
    """``bound`` on rank K from its columns, and the reason if lambda_min = 0 exactly."""

    bound: int
    zero: ZeroReason | None


def rank_bound(
    widths: Sequence[int], act_name: str, *, bias: bool = False, layers: Sequence[int] | None = None
) -> int:
    """Largest possible rank of K for widths (n_0, ..., n_L), any number of samples.

    Nominal: all units count as live.  ``layers``: numbers 1..L, None for all.
    """
    check_name("activation", act_name, ACTIVATIONS)
    depth = len(widths) - 1
    chosen = check_layers(layers, depth)
    if act_name == "linear":
        # The features before the first layer that takes part span all columns of the later ones.
        return min(
            min(widths[: min(chosen)]) + bias,
            sum((widths[k - 1] + bias) * widths[k] for k in chosen),
        )
    bound = sum((widths[k - 1] + bias) * widths[k] for k in chosen)
    if act_name in HOMOGENEOUS:
        ordered = sorted(chosen)
        for lower, upper in pairwise(ordered):
            if upper == lower + 1:
                bound -= widths[lower]
            elif not bias:
                bound -= 1
        if widths[0] == 1 and not bias:
            bound = min(bound, 2)
    return bound


def rank_report(
    lin: Linearisation, act: Activation, layers: Sequence[int] | None = None
) -> RankReport:
    """Rank bound of this network on these samples, and the reason for an exact zero if any.

    ``lin`` without batch dimensions.  O(N log N) comparisons of rows; no N^2 work.  ReLU's bound
    reads which entries of ``lin`` are 0: ``linearise`` sees to it that underflow made none.
    """
    chosen = check_layers(layers, lin.depth)
    widths = [f.shape[1] for f in lin.features] + [1]
    bound = rank_bound(widths, act.name, bias=lin.bias, layers=chosen)
    if act.name == "relu":
        bound = min(bound, live_bound(live_parts(lin, chosen), chosen, lin.bias))
    return RankReport(bound, _zero_reason(lin, act, chosen, bound))


def rank_reports(
    lin: Linearisation, act: Activation, layers: Sequence[int] | None = None
) -> list[RankReport]:
    """``rank_report`` of each network of a batch, ``lin`` with one leading dimension.

    Where no zero can come from a pattern of units (no ReLU), and no two samples agree even in
    their first entry up to sign, all members share one report.
    """
    chosen = check_layers(layers, lin.depth)
    x = lin.features[0]
    if act.name not in HOMOGENEOUS and not bool(
        _shares_first(x.abs()).any() | (x[..., 0] == 0).any()
    ):
        widths = [f.shape[-1] for f in lin.features] + [1]
        bound = rank_bound(widths, act.name, bias=lin.bias, layers=chosen)
        report = RankReport(bound, ZeroReason.RANK if lin.n_samples > bound else None)
        return [report] * x.shape[0]
    return [rank_report(member(lin, i), act, chosen) for i in range(x.shape[0])]


def live_parts(lin: Linearisation, chosen: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """For each layer k: which units of k-1 and k are on together for some sample, which of k are.

    Shapes (n_{k-1}, n_k) and (n_k,); of several blocks of samples, either is the union.
    """
    parts = []
    for k in chosen:
        above = lin.backprops[k - 1] != 0
        below = lin.features[k - 1] != 0
        dtype = lin.features[0].dtype
        parts.append((below.to(dtype).T @ above.to(dtype) > 0, above.any(0)))
    return parts


def live_bound(parts: Sequence[tuple[Tensor, Tensor]], chosen: Sequence[int], bias: bool) -> int:
    """The ReLU rank bound from the columns of J that are not 0 on these samples."""
    bound = 0
    for k, (together, above) in zip(chosen, parts, strict=True):
        units = int(above.sum())
        bound += int(together.sum()) + units * bias - (units if k + 1 in chosen else 0)
    return bound


def _zero_reason(
    lin: Linearisation, act: Activation, chosen: tuple[int, ...], bound: int
) -> ZeroReason | None:
    if lin.n_samples > bound:
        return ZeroReason.RANK
    if bool(zero_gradients(lin, act, chosen).any()):
        return ZeroReason.ZERO_GRADIENT
    x = lin.features[0]
    if _has_equal_rows(x):
        return ZeroReason.DUPLICATE
    if act.name in ODD and not lin.bias and _has_equal_rows(up_to_sign(x)):
        return ZeroReason.ANTIPODAL
    if act.name == "relu" and any(int(off.sum()) > 1 for off in samples_off(lin)):
        return ZeroReason.EQUAL_DEAD
    if act.name in HOMOGENEOUS and _fullest_region(lin) > x.shape[1] + lin.bias:
        return ZeroReason.CROWDED_REGION
    return None


def samples_off(lin: Linearisation) -> list[Tensor]:
    """For each hidden layer, which samples have all of its units at 0."""
    return [(f == 0).all(1) for f in lin.features[1:]]


def _fullest_region(lin: Linearisation) -> int:
    """How many samples share the most common pattern of units on."""
    if lin.n_samples <= lin.features[0].shape[1]:
        return 0  # too few to matter
    pattern = torch.cat([f > 0 for f in lin.features[1:]], dim=1)
    return int(torch.unique(pattern, dim=0, return_counts=True)[1].max())


def zero_gradients(lin: Linearisation, act: Activation, chosen: tuple[int, ...]) -> Tensor:
    """Which samples have no gradient, shape (N,).

    Only exact causes count: a smooth activation whose derivative underflows is no zero.
    """
    exact_zero = float(act.f(lin.features[0].new_zeros(1))[0]) == 0.0
    x_zero = (lin.features[0] == 0).all(1)
    if act.name == "relu":
        parts = []
        for k in chosen:
            none = (lin.backprops[k - 1] == 0).all(1)
            if not lin.bias:
                none |= (lin.features[k - 1] == 0).all(1)
            parts.append(none)
        return torch.stack(parts).all(0)
    if exact_zero and not lin.bias:
        return x_zero  # every feature is then 0, layer after layer
    if chosen == (1,) and not lin.bias:
        return x_zero
    return torch.zeros_like(x_zero)


def _has_equal_rows(x: Tensor) -> bool:
    """Whether two rows of x (N, n) are equal; rows that differ in the first column are not."""
    same = _shares_first(x)
    rows = x[same]
    return len(rows) > 1 and len(torch.unique(rows, dim=0)) < len(rows)


def _shares_first(x: Tensor) -> Tensor:
    """Which rows of x (..., N, n) agree with another one in the first column, shape (..., N)."""
    ordered, order = x[..., 0].sort(dim=-1)
    equal = ordered[..., 1:] == ordered[..., :-1]
    none = equal.new_zeros((*equal.shape[:-1], 1))
    either = torch.cat([none, equal], -1) | torch.cat([equal, none], -1)
    return torch.zeros_like(either).scatter_(-1, order, either)


def up_to_sign(x: Tensor) -> Tensor:
    """Rows with the sign of their first nonzero entry made positive."""
    first = (x != 0).to(torch.int8).argmax(1, keepdim=True)
    return x * torch.where(x.gather(1, first) < 0, -torch.ones_like(x[:, :1]), 1.0)
