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
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.base.precision import full_precision
from lawsweep.kernels.base.reasons import Reason
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk.directions import directions, input_rank, may_share_a_line
from lawsweep.kernels.ntk.linearisation import Linearisation


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


def rank_bound(network: Network, *, inputs: int | None = None) -> int:
    """Largest possible rank of K, any number of samples.

    Nominal: all units count as live.  ``inputs``: the rank of the inputs, with a column of ones
    beside them where there are biases; None: n_0 [+1].  Where some layer is not fully connected,
    no more is said than that there are so many parameters.
    """
    if not network.fully_connected:
        return int(network.n_counted)
    widths, chosen, bias = network.widths, network.chosen, network.counts_bias
    act = network.act
    first = widths[0] + bias if inputs is None else inputs
    ranks = [first, *(n + bias for n in widths[1:])]
    bound: int = sum(ranks[k - 1] * widths[k] for k in chosen)
    if act.linear:
        # The features before the first layer that takes part span all columns of the later ones.
        return int(min(*ranks[: min(chosen)], bound))
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


@full_precision()
def rank_report(lin: Linearisation) -> RankReport:
    """Rank bound of this network on these samples, and the reason for an exact zero if any.

    ``lin`` without batch dimensions.  O(N log N) comparisons of rows; no N^2 work.  ReLU's bound
    reads which entries of ``lin`` are 0: ``linearise`` sees to it that underflow made none.  Of a
    network that is not fully connected only equal samples and too few parameters are named.
    """
    return _report(lin, samples_of(lin.network, lin.features[0], affine=lin.affine))


@full_precision()
def samples_of(network: Network, x: Tensor, *, affine: bool) -> Samples:
    """``Samples.of`` for inputs of this network."""
    # With biases no sample but an equal one has the same gradient, and so for other layers.
    plain = network.fully_connected
    return Samples.of(x, network.act, affine or not plain, network.depth)


def _report(lin: Linearisation, samples: Samples) -> RankReport:
    live = live_parts(lin) if by_units(lin.network) else None
    bound, ranked = bounded(lin.network, lin.chosen, lin.affine, live, samples)
    zero = ZeroReason.RANK if ranked else _zero_reason(lin, samples)
    return RankReport(bound, zero)


def by_units(network: Network) -> bool:
    """Whether a unit that is off says that columns of J are 0: ReLU, fully connected."""
    return network.fully_connected and network.act.rectifies


def by_regions(network: Network) -> bool:
    """Whether samples with the same units on lie in one linear region, with hidden units."""
    return network.fully_connected and network.act.tells_region and network.depth > 1


def bounded(
    network: Network,
    chosen: Sequence[int],
    affine: bool,
    live: Sequence[tuple[Tensor, Tensor]] | None,
    samples: Samples,
) -> tuple[int, bool]:
    """The bound on the rank of K, and whether the columns of J are why K is singular.

    Where samples have a reason of their own, only the nominal columns come before it.
    """

    # Biases that are there count as parameters, which only makes the bound larger.
    network = replace(network, bias=affine, layers=tuple(chosen), conjugate=False)

    def with_inputs(rank: int) -> int:
        most = rank_bound(network, inputs=rank)
        return most if live is None else min(most, live_bound(live, chosen, affine, rank))

    n, n_inputs = len(samples.line), network.widths[0] + affine
    nominal = with_inputs(n_inputs)
    bound = nominal if samples.rank == n_inputs else with_inputs(samples.rank)
    if samples.zero is None:
        return bound, n > bound
    return min(bound, samples.n_distinct), n > nominal


@full_precision()
def rank_reports(lin: Linearisation) -> list[RankReport]:
    """``rank_report`` of each network of a batch, ``lin`` with one leading dimension.

    Where neither two samples nor two columns of inputs agree even in the quotient of their first
    entries, samples alone say nothing, and are not looked at one member after the other; where no
    zero can come from a pattern of units either (no ReLU), all share one report.
    """
    x = lin.features[0]
    # A column of one number, beside the ones of a bias, begins with it twice.
    plain = min(x.shape[1:]) > 1 and not bool(
        may_share_a_line(x).any() | may_share_a_line(x.mT).any() | (x[:, 0] == x[:, 1]).any()
    )
    if not plain:
        return [rank_report(lin.member(i)) for i in range(x.shape[0])]
    lines = torch.arange(x.shape[1], device=x.device)
    affine = lin.affine or not lin.network.fully_connected
    samples = Samples(x.shape[2] + affine, x.shape[1], None, lines)
    n_asked = x.shape[0] if lin.network.act.tells_region else 1
    found = [_report(lin.member(i), samples) for i in range(n_asked)]
    return found if n_asked == x.shape[0] else found * x.shape[0]


def live_parts(lin: Linearisation) -> list[tuple[Tensor, Tensor]]:
    """For each layer k: which units of k-1 and k are on together for some sample, which of k are.

    Shapes (n_{k-1}, n_k) and (n_k,); of several blocks of samples, either is the union.
    """
    parts = []
    for layer in lin.layers:
        above, below = layer.back != 0, layer.features != 0
        parts.append((below.to(lin.dtype).T @ above.to(lin.dtype) > 0, above.any(0)))
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


def _zero_reason(lin: Linearisation, samples: Samples) -> ZeroReason | None:
    if bool(zero_gradients(lin).any()):
        return ZeroReason.ZERO_GRADIENT
    if samples.zero is not None:
        return samples.zero
    if by_units(lin.network) and any(int(off.sum()) > 1 for off in samples_off(lin)):
        return ZeroReason.EQUAL_DEAD
    if by_regions(lin.network) and _crowded(lin, samples):
        return ZeroReason.CROWDED_REGION
    return None


def samples_off(lin: Linearisation) -> list[Tensor]:
    """For each hidden layer, which samples have all of its units at 0."""
    return [(f == 0).all(1) for f in lin.features[1:]]


def _crowded(lin: Linearisation, samples: Samples) -> bool:
    """Whether a pattern of units on has more samples than its linear region has dimensions."""
    _, line, counts = torch.unique(samples.line, return_inverse=True, return_counts=True)
    most = int(counts.max())
    if lin.n_samples <= samples.rank and most <= 1 + lin.affine:
        return False  # too few to matter
    pattern = torch.cat([f > 0 for f in lin.features[1:]], dim=1)
    _, region, crowd = torch.unique(pattern, dim=0, return_inverse=True, return_counts=True)
    return int(crowd.max()) > samples.rank or together(region, line) > 1 + lin.affine


def together(region: Tensor, line: Tensor) -> int:
    """How many samples share both labels, at most."""
    pairs = torch.stack([region, line], 1)
    return int(torch.unique(pairs, dim=0, return_counts=True)[1].max())


def zero_gradients(lin: Linearisation) -> Tensor:
    """Which samples have no gradient, shape (N,).

    Only exact causes count: a smooth activation whose derivative underflows is no zero.
    """
    if by_units(lin.network):
        parts = []
        for layer in lin.layers:
            none = (layer.back == 0).all(1)
            if not layer.bias:
                none |= (layer.features == 0).all(1)
            parts.append(none)
        return torch.stack(parts).all(0)
    bias = lin.affine or not lin.network.fully_connected
    return null_samples(lin.features[0], lin.network.act, lin.chosen, bias)


def null_samples(x: Tensor, act: Activation, chosen: Sequence[int], bias: bool) -> Tensor:
    """Which samples x (N, n_0) have no gradient whatever the weights, shape (N,)."""
    # Every feature is 0 then, layer after layer; or only the first counts.
    no_features = float(act.f(torch.zeros(1, dtype=x.dtype))[0]) == 0.0 or tuple(chosen) == (1,)
    zero = (x == 0).all(1)
    return zero if no_features and not bias else torch.zeros_like(zero)
