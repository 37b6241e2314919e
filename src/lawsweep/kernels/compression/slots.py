"""How restarts of several targets of one shape share matrix products with them."""

from __future__ import annotations

import torch
from torch import Tensor

from lawsweep.kernels.gaussian.arccos import unit

BLOCK_ROWS = 1 << 16


def directions_norms(target: Tensor, consume: bool = False) -> tuple[Tensor, Tensor]:
    """``arccos.unit`` of rows (S, N, d), in blocks; with ``consume`` written over ``target``."""
    directions = target if consume else torch.empty_like(target)
    norms = target.new_empty(target.shape[:-1])
    for first in range(0, target.shape[1], BLOCK_ROWS):
        part = slice(first, first + BLOCK_ROWS)
        directions[:, part], norms[:, part] = unit(target[:, part])
    return directions, norms


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
        return rows[self.restart.to(rows.device)].flatten(1, 2)

    def scatter(self, rectangle: Tensor, m: int) -> Tensor:
        """(S', r M, ...) as (R, M, ...)."""
        shape = rectangle.shape[2:]
        return rectangle.reshape(-1, m, *shape)[self.place.to(rectangle.device)]
