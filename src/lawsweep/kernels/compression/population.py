"""Population loss of compressing a two-layer network, in closed form.

Target f(x) = sum_i alpha_i sigma(<w_i, x>), N nodes; compressed g(x) = sum_j s_j sigma(<v_j, x>),
M nodes with signs s_j = +-1: for a positively homogeneous sigma the size of an output weight is
absorbed in its row (v_j = |b_j| theta_j / M in the notation of [C], arXiv 2205.08199).  With
x ~ N(0, I_d) and k the kernel of sigma (``gaussian.homogeneous``)

    E (f - g)^2 = T + J(v),   T = sum_ij alpha_i alpha_j k(w_i, w_j),
    J(v) = -2 sum_j s_j h(v_j) + sum_jl s_j s_l k(v_j, v_l),   h(v) = sum_i alpha_i k(w_i, v).

J is what a minimiser needs, O(N M d); T is a constant of the target, O(N^2 d)
(``Target.norm``).

On rounding: sums take cosines rho from matrix products, wrong by about eps.  That is harmless
here although arcsin loses half its digits at +-1: k and its gradient have bounded derivatives in
rho (|dk/drho| <= |u||v| and |t|/s = 1), as long as sqrt(1 - rho^2) and arcsin rho are taken of the
same rounded rho.  So every sum is right to a few eps of the sum of its terms' sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lawsweep.kernels.base import devices
from lawsweep.kernels.compression.objective import HomogeneousObjective, Rows, bmm
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.gaussian.angles import inverse_sine, sine_arcsine


class Slots:
    """Restarts (R) of targets (S), laid out as a rectangle (S', r) over the targets in use.

    ``group`` (R,): the target of each restart, all 0 where None.  Targets with fewer restarts
    left than others repeat one: padding, which is computed and thrown away.
    """

    def __init__(self, n_restarts: int, n_targets: int, group: Tensor | None = None):
        if group is None:
            if n_targets > 1:
                raise ValueError(
                    f"expected a group for each restart of {n_targets} targets, got None; give "
                    "the target of each restart"
                )
            group = torch.zeros(n_restarts, dtype=torch.long)
        self.group = group.detach().cpu().to(torch.long)
        if len(self.group) != n_restarts or not bool(
            ((self.group >= 0) & (self.group < n_targets)).all()
        ):
            raise ValueError(
                f"expected {n_restarts} groups from 0 to {n_targets - 1}, got {group.tolist()}; "
                "give the target of each restart"
            )
        self.n_targets = n_targets
        self.used, inverse = torch.unique(self.group, return_inverse=True)
        counts = torch.bincount(inverse)
        most = int(counts.max()) if len(counts) else 0
        order = torch.argsort(inverse, stable=True)
        first = torch.cumsum(counts, 0) - counts
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order)) - first[inverse[order]]
        self.restart = order[first].unsqueeze(1).repeat(1, most)  # (S', r); padding: the first
        self.restart[inverse, place] = torch.arange(n_restarts)
        self.place = inverse * most + place  # (R,), where each restart lies in the rectangle
        self._there: tuple[Tensor, Tensor] | None = None
        self._picked: dict[int, tuple[Tensor, Tensor]] = {}

    def take(self, index: Tensor) -> Slots:
        """The slots of those restarts alone."""
        return Slots(len(index), self.n_targets, self.group[index.cpu()])

    def pick(self, whole: Tensor) -> Tensor:
        """The targets in use of an array (S, ...); a copy is made once."""
        if len(self.used) == self.n_targets:
            return whole
        kept = self._picked.get(id(whole))
        if kept is None or kept[0] is not whole:
            kept = self._picked[id(whole)] = (whole, whole[self.used.to(whole.device)])
        return kept[1]

    def gather(self, rows: Tensor) -> Tensor:
        """(R, M, ...) as (S', r M, ...)."""
        return rows[self._on(rows)[0]].flatten(1, 2)

    def scatter(self, rectangle: Tensor, m: int) -> Tensor:
        """(S', r M, ...) as (R, M, ...)."""
        shape = rectangle.shape[2:]
        return rectangle.reshape(-1, m, *shape)[self._on(rectangle)[1]]

    def _on(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """``restart`` and ``place`` on the device of an array, carried over once."""
        if self._there is None or self._there[0].device != like.device:
            self._there = (self.restart.to(like.device), self.place.to(like.device))
        return self._there


class PopulationLoss(HomogeneousObjective):
    """J of a target, or of S targets of one shape; homogeneous sigma, one output.

    ``group``: which of the S targets each restart (row of ``signs``) belongs to, (R,); needed
    where S > 1.  Target rows are streamed in blocks, so temporaries stay near ``block_elements``
    numbers, by default what suits the device.
    """

    def __init__(
        self,
        targets: Target | Sequence[Target],
        signs: Tensor,
        *,
        group: Tensor | None = None,
        block_elements: int | None = None,
    ):
        each = [targets] if isinstance(targets, Target) else list(targets)
        kernel, w = each[0].kernel, each[0].rows
        self.slots = Slots(len(signs), len(each), group)
        self.unit = _stacked([t.sides[0] for t in each])
        self.beta = _stacked([t.beta for t in each])
        self.mean = kernel.linear * _stacked([(t.weights @ t.rows).unsqueeze(0) for t in each])
        size = self.beta.abs().sum(-1)[self.slots.group.to(w.device)]
        super().__init__(kernel, signs, w.shape[1], size)
        sizes = devices.on(w.device)
        self.block_elements = block_elements or sizes.pass_numbers

    def _select(self, index: Tensor) -> None:
        self.slots = self.slots.take(index)

    def _blocks(self, width: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Directions (S, n, d) and beta (S, n, 1), of the targets in use."""
        unit, beta = self.slots.pick(self.unit), self.slots.pick(self.beta)
        n = max(64, self.block_elements // max(1, width * len(beta)))
        for first in range(0, beta.shape[1], n):
            yield unit[:, first : first + n], beta[:, first : first + n].unsqueeze(-1)

    def cross(self, rows: Rows) -> Tensor:
        """Sum_i alpha_i |w_i| {even [sin v^ + arcsin w^]} + linear m, (R, M, d)."""
        k, a = self.kernel, self.slots.gather(rows.unit)
        along, outward = torch.zeros_like(a), a.new_zeros(a.shape[:2])
        for u, beta in self._blocks(a.shape[1] + self.d):
            sine, arcsine = sine_arcsine(u @ a.mT)
            along += (beta * arcsine).mT @ u
            outward += (beta * sine).sum(1)
        result = k.even * (along + outward.unsqueeze(-1) * a) + self.slots.pick(self.mean)
        return self.slots.scatter(result, self.shape[0])

    def cross_hessian(self, rows: Rows) -> Tensor:
        """(even/|v|) [S (I - v^v^T) + (I - v^v^T) G (I - v^v^T)], (R, M, d, d).

        S = sum_i beta_i s_i and G = sum_i (beta_i/s_i) w_i^ w_i^T, beta_i = alpha_i |w_i|: the
        projections turn w_i^ into t_i.  All Grams of a block of rows are one matrix product.
        """
        a, d = self.slots.gather(rows.unit), self.d
        gram, bulk = a.new_zeros(len(a), a.shape[1] * d, d), a.new_zeros(a.shape[:2])
        for u, beta in self._blocks(a.shape[1] * d):
            sine, _ = sine_arcsine(u @ a.mT)
            weight = beta * inverse_sine(sine)
            gram += (weight.unsqueeze(-1) * u.unsqueeze(-2)).flatten(2).mT @ u
            bulk += (beta * sine).sum(1)
        own = self.slots.scatter(gram.reshape(*a.shape, d), self.shape[0])
        size = self.slots.scatter(bulk, self.shape[0])[..., None, None]
        eye = torch.eye(d, dtype=a.dtype, device=a.device)
        across = eye - rows.unit[..., :, None] * rows.unit[..., None, :]
        whole = across @ own @ across + size * across
        return self.kernel.even * rows.inverse[..., None, None] * whole

    def cross_product(self, rows: Rows) -> Callable[[Tensor], Tensor]:
        """As ``cross_hessian``, applied; keeps two (N, R M) matrices up to KEPT_NUMBERS."""
        a = self.slots.gather(rows.unit)
        bulk = a.new_zeros(a.shape[:2])

        def weights() -> Iterator[tuple[Tensor, Tensor]]:
            for u, beta in self._blocks(a.shape[1] + self.d):
                sine, _ = sine_arcsine(u @ a.mT)
                bulk.add_((beta * sine).sum(1))
                yield u, beta * inverse_sine(sine)

        kept = (
            list(weights())
            if self.beta.shape[1] * a[..., 0].numel() <= devices.KEPT_NUMBERS
            else None
        )
        if kept is None:
            for _ in weights():
                pass
        total, scale = bulk.clone().unsqueeze(-1), self.kernel.even * rows.inverse.unsqueeze(-1)

        def product(p: Tensor) -> Tensor:
            flat = self.slots.gather(rows.across_once(p))
            gram, turned = total * flat, flat.mT
            for u, weight in kept if kept is not None else weights():
                gram += bmm((weight * bmm(u, turned)).mT, u)
            return scale * rows.across(self.slots.scatter(gram, self.shape[0]))

        return product


def _stacked(parts: list[Tensor]) -> Tensor:
    """One array (S, ...); of a single target no copy is made."""
    return parts[0].unsqueeze(0) if len(parts) == 1 else torch.stack(parts)
