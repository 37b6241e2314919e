"""When the NTK Gram matrix is singular for a reason that can be named.

K = J J^T has rank at most that of the N x p Jacobian J, so linear relations among J's columns
(parameters) or rows (samples) force lambda_min = 0 exactly.  Solving for such a zero returns
rounding noise of either sign; naming it returns the truth.  Derived for this project and checked
against the singular values of J; not statements of the papers.

Columns.
- Inputs of rank r < n_0 (columns of zeros or multiples of one another; rows on r lines) are those
  of a network with r inputs: x = x' A gives x W_1 = x' (A W_1), and the columns of W_1's gradient
  span what those of x' do.  So r stands for n_0 throughout, and rank([X, 1]) for n_0 + 1.
- Layer l contributes (n_{l-1} [+1]) n_l columns; K_l has rank(F_{l-1} [, 1]) rank(B_l) at most.
- ReLU, leaky ReLU and |g| satisfy sigma'(g) g = sigma(g).  For hidden unit j of layer l, summing
  G_l[j] B_l[j] in two ways gives one relation among the columns,
      sum_i W_l[i, j] dW_l[i, j] + b_l[j] db_l[j] = sum_k W_{l+1}[j, k] dW_{l+1}[j, k],
  wherever layers l and l+1 both take part: one rank less for each hidden unit, with biases too.
  Summed over the units of the layers between, without biases: f = <W_l, dW_l> for every l, so
  two layers that take part with none between them lose one rank together.
- One input column and no bias: ReLU features scale with |x|, so all samples of one sign have
  parallel gradients and the rank is 2 at most (|g|: those of both, and it is 1).
- A linear network's gradient is linear (affine) in x: rank <= the narrowest n before the first
  layer that takes part [+1].
- ReLU: the column of W_l[i, j] is 0 unless units i and j are on together for some sample; only
  live columns count, and only relations of units with a live column above them.

Rows.
- Equal samples; without biases x and -x too where sigma is odd (F_l is odd, sigma' even) or even
  (F_l is even, and B_1 as odd as x), and positive multiples of a sample where sigma is positively
  homogeneous (F_l scales with it, sigma' stays), any multiples where sigma is even too or the
  network is linear.
- ReLU, a sample with a whole layer off: every F after it and every B before it is 0.  Without
  biases its gradient is 0.  With biases the gradient is that of a constant input above, so two
  samples off in the same layer have equal gradients.
- ReLU and leaky ReLU: samples with one and the same pattern of units on lie in one linear region,
  where the gradient is linear (affine) in x: more than rank([X, 1]) of them are dependent, and so
  are three on a line through the origin (with biases; without, two).  (Of |g| the features do
  not say which side of its kink a unit is on: that is not asked.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.base.reasons import Reason
from lawsweep.kernels.ntk.directions import directions, input_rank, may_share_a_line
from lawsweep.kernels.ntk.gram import Linearisation, check_layers, member


class ZeroReason(Reason):
    """Why lambda_min is exactly 0, which is an answer."""

    RANK = "rank", "n_samples exceeds the rank bound", True
    DUPLICATE = "duplicate", "duplicate samples", True
    ANTIPODAL = "antipodal", "samples x and -x under an odd or even activation without bias", True
    PARALLEL = "parallel", "samples x and c x under a homogeneous activation without bias", True
    ZERO_GRADIENT = "zero_gradient", "a sample has zero gradient", True
    EQUAL_DEAD = "equal_dead", "two samples with the same layer off have equal gradients", True
    CROWDED_REGION = (
        "crowded_region",
        "more samples in one linear region than input dimensions",
        True,
    )


@dataclass(frozen=True)
class RankReport:
    """``bound`` on rank K, and the reason if lambda_min = 0 exactly."""

    bound: int
    zero: ZeroReason | None


def rank_bound(
    widths: Sequence[int],
    act: Activation,
    *,
    bias: bool = False,
    layers: Sequence[int] | None = None,
    inputs: int | None = None,
) -> int:
    """Largest possible rank of K for widths (n_0, ..., n_L), any number of samples.

    Nominal: all units count as live.  ``layers``: numbers 1..L, None for all.  ``inputs``: the
    rank of the inputs, with a column of ones beside them where there are biases; None: n_0 [+1].
    """
    depth = len(widths) - 1
    chosen = check_layers(layers, depth)
    first = widths[0] + bias if inputs is None else inputs
    ranks = [first, *(n + bias for n in widths[1:])]
    bound = sum(ranks[k - 1] * widths[k] for k in chosen)
    if act.linear:
        # The features before the first layer that takes part span all columns of the later ones.
        return min(*ranks[: min(chosen)], bound)
    if act.homogeneous:
        ordered = sorted(chosen)
        for lower, upper in pairwise(ordered):
            if upper == lower + 1:
                bound -= widths[lower]
            elif not bias:
                bound -= 1
        if first == 1 and not bias:
            bound = min(bound, 1 if act.parity == "even" else 2)
    return bound


@dataclass(frozen=True, eq=False)
class Samples:
    """What the inputs x (N, n_0) alone say, whatever the weights.

    ``rank``: of x, with a column of ones where there are biases, at most.  ``n_distinct``: of the
    gradients no more than so many point different ways; ``zero`` why, where that is not all N.
    ``line``: (N,), the same for samples that are multiples of one another.
    """

    rank: int
    n_distinct: int
    zero: ZeroReason | None
    line: Tensor

    @classmethod
    def of(cls, x: Tensor, act: Activation, bias: bool, depth: int) -> Samples:
        """Exact comparisons of the numbers given: no tolerance.  O(N n_0 log N) at most."""
        found = directions(x)
        rank = input_rank(x, bias, found)
        if found.apart:
            return cls(rank, len(x), None, found.line)
        labels, counts = torch.unique(found.line, return_counts=True)
        some = torch.isin(found.line, labels[counts > 1])
        if not bool(some.any()):
            return cls(rank, len(x), None, found.line)
        few, rays, lines = x[some] + 0.0, found.rays[some], found.line[some]
        linear = act.linear or depth == 1
        kinds = [(ZeroReason.DUPLICATE, few)]
        if not bias and (act.parity is not None or linear):
            signs = torch.where(found.positive[some], 1.0, -1.0).to(few)
            kinds.append((ZeroReason.ANTIPODAL, few * signs.unsqueeze(1) + 0.0))
        if not bias and (act.homogeneous or linear):
            multiples = lines if linear or act.parity == "even" else rays
            kinds.append((ZeroReason.PARALLEL, multiples.unsqueeze(1)))
        n_kept = [len(torch.unique(rows, dim=0)) for _, rows in kinds]
        zero = next(
            (kind for (kind, _), n in zip(kinds, n_kept, strict=True) if n < len(few)), None
        )
        return cls(rank, len(x) - len(few) + min(n_kept), zero, found.line)


def rank_report(
    lin: Linearisation, act: Activation, layers: Sequence[int] | None = None
) -> RankReport:
    """Rank bound of this network on these samples, and the reason for an exact zero if any.

    ``lin`` without batch dimensions; ``lin.bias`` False means biases that are 0 too, not only that
    they are no parameters.  O(N log N) comparisons of rows; no N^2 work.  ReLU's bound reads which
    entries of ``lin`` are 0: ``linearise`` sees to it that underflow made none.
    """
    samples = Samples.of(lin.features[0], act, lin.bias, lin.depth)
    return _report(lin, act, check_layers(layers, lin.depth), samples)


def _report(
    lin: Linearisation, act: Activation, chosen: tuple[int, ...], samples: Samples
) -> RankReport:
    widths = [f.shape[1] for f in lin.features] + [1]
    live = live_parts(lin, chosen) if act.rectifies else None
    bound, ranked = bounded(widths, act, lin.bias, chosen, live, samples)
    zero = ZeroReason.RANK if ranked else _zero_reason(lin, act, chosen, samples)
    return RankReport(bound, zero)


def bounded(
    widths: Sequence[int],
    act: Activation,
    bias: bool,
    chosen: Sequence[int],
    live: Sequence[tuple[Tensor, Tensor]] | None,
    samples: Samples,
) -> tuple[int, bool]:
    """The bound on the rank of K, and whether the columns of J are why K is singular.

    Where samples have a reason of their own, only the nominal columns come before it.
    """

    def with_inputs(rank: int) -> int:
        most = rank_bound(widths, act, bias=bias, layers=chosen, inputs=rank)
        return most if live is None else min(most, live_bound(live, chosen, bias, rank))

    n, nominal = len(samples.line), with_inputs(widths[0] + bias)
    bound = nominal if samples.rank == widths[0] + bias else with_inputs(samples.rank)
    if samples.zero is None:
        return bound, n > bound
    return min(bound, samples.n_distinct), n > nominal


def rank_reports(
    lin: Linearisation, act: Activation, layers: Sequence[int] | None = None
) -> list[RankReport]:
    """``rank_report`` of each network of a batch, ``lin`` with one leading dimension.

    Where neither two samples nor two columns of inputs agree even in the quotient of their first
    entries, samples alone say nothing, and are not looked at one member after the other; where no
    zero can come from a pattern of units either (no ReLU), all share one report.
    """
    chosen = check_layers(layers, lin.depth)
    x = lin.features[0]
    # A column of one number, beside the ones of a bias, begins with it twice.
    plain = min(x.shape[1:]) > 1 and not bool(
        may_share_a_line(x).any() | may_share_a_line(x.mT).any() | (x[:, 0] == x[:, 1]).any()
    )
    if not plain:
        return [rank_report(member(lin, i), act, chosen) for i in range(x.shape[0])]
    lines = torch.arange(x.shape[1], device=x.device)
    samples = Samples(x.shape[2] + lin.bias, x.shape[1], None, lines)
    n_asked = x.shape[0] if act.tells_region else 1
    found = [_report(member(lin, i), act, chosen, samples) for i in range(n_asked)]
    return found if n_asked == x.shape[0] else found * x.shape[0]


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


def live_bound(
    parts: Sequence[tuple[Tensor, Tensor]], chosen: Sequence[int], bias: bool, inputs: int
) -> int:
    """The ReLU rank bound from the columns of J that are not 0 on these samples.

    ``inputs``: the rank of the inputs, which no unit of the first layer exceeds.
    """
    bound = 0
    for k, (together, above) in zip(chosen, parts, strict=True):
        columns = together.sum(0) + bias * above.to(torch.int64)
        if k == 1:
            columns = columns.clamp(max=inputs)
        bound += int(columns.sum()) - (int(above.sum()) if k + 1 in chosen else 0)
    return bound


def _zero_reason(
    lin: Linearisation, act: Activation, chosen: tuple[int, ...], samples: Samples
) -> ZeroReason | None:
    if bool(zero_gradients(lin, act, chosen).any()):
        return ZeroReason.ZERO_GRADIENT
    if samples.zero is not None:
        return samples.zero
    if act.rectifies and any(int(off.sum()) > 1 for off in samples_off(lin)):
        return ZeroReason.EQUAL_DEAD
    if act.tells_region and lin.depth > 1 and _crowded(lin, samples):
        return ZeroReason.CROWDED_REGION
    return None


def samples_off(lin: Linearisation) -> list[Tensor]:
    """For each hidden layer, which samples have all of its units at 0."""
    return [(f == 0).all(1) for f in lin.features[1:]]


def _crowded(lin: Linearisation, samples: Samples) -> bool:
    """Whether a pattern of units on has more samples than its linear region has dimensions."""
    _, line, counts = torch.unique(samples.line, return_inverse=True, return_counts=True)
    most = int(counts.max())
    if lin.n_samples <= samples.rank and most <= 1 + lin.bias:
        return False  # too few to matter
    pattern = torch.cat([f > 0 for f in lin.features[1:]], dim=1)
    _, region, crowd = torch.unique(pattern, dim=0, return_inverse=True, return_counts=True)
    return int(crowd.max()) > samples.rank or together(region, line) > 1 + lin.bias


def together(region: Tensor, line: Tensor) -> int:
    """How many samples share both labels, at most."""
    pairs = torch.stack([region, line], 1)
    return int(torch.unique(pairs, dim=0, return_counts=True)[1].max())


def zero_gradients(lin: Linearisation, act: Activation, chosen: tuple[int, ...]) -> Tensor:
    """Which samples have no gradient, shape (N,).

    Only exact causes count: a smooth activation whose derivative underflows is no zero.
    """
    if act.rectifies:
        parts = []
        for k in chosen:
            none = (lin.backprops[k - 1] == 0).all(1)
            if not lin.bias:
                none |= (lin.features[k - 1] == 0).all(1)
            parts.append(none)
        return torch.stack(parts).all(0)
    return null_samples(lin.features[0], act, chosen, lin.bias)


def null_samples(x: Tensor, act: Activation, chosen: Sequence[int], bias: bool) -> Tensor:
    """Which samples x (N, n_0) have no gradient whatever the weights, shape (N,)."""
    # Every feature is 0 then, layer after layer; or only the first counts.
    no_features = float(act.f(x.new_zeros(1))[0]) == 0.0 or tuple(chosen) == (1,)
    zero = (x == 0).all(1)
    return zero if no_features and not bias else torch.zeros_like(zero)
