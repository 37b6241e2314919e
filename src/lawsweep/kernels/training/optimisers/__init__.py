"""First-order optimisers of ``train``: a file each, whose ``OPTIMISER`` is its class.

The file's name is the optimiser's, and the folder is the table: a file that is put
here is an optimiser, with nothing else to edit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import cos, pi
from typing import TYPE_CHECKING, ClassVar, Literal, Self, get_args

from lawsweep.kernels.base.names import check_name, from_folder, in_folder

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lawsweep.kernels.training.layout import LayerMajor

Schedule = Literal["constant", "cosine"]
"""How the learning rate changes over the updates t = 0, ..., max_steps - 1.

``cosine``: rate (1 + cos(pi t / max_steps)) / 2, one period of Loshchilov and Hutter
    (arXiv 1608.03983), eq. 5, falling to zero.  It depends on max_steps alone: a run that stops
    early has not seen the end of it.
"""


def schedule_factor(schedule: Schedule, step: int, max_steps: int) -> float:
    """The learning rate of update ``step`` (from 0) over that of the first."""
    check_name("schedule", schedule, get_args(Schedule))
    return 1.0 if schedule == "constant" else (1.0 + cos(pi * step / max_steps)) / 2.0


class Optimiser(ABC):
    """An update rule with its state, over one flat vector that holds the weights of all seeds.

    ``rates`` (S,): a learning rate a seed.  ``vectors`` names the attributes that are state, flat
    vectors laid out as the weights, which start at zero; ``n_steps`` counts the updates made.
    A seed's weights may not depend on the others': operations are elementwise, or seed by seed.

    One whose updates are all the same operations but for ``n_numbers`` numbers a seed gives these
    by ``numbers`` and makes the update from them by ``move``: a device is then sent the numbers of
    many updates at once, and can be sent the calls of all as one (``training.stepping``).
    """

    vectors: ClassVar[tuple[str, ...]] = ()
    n_numbers: ClassVar[int] = 0  # of an update; 0: there is no ``move``, and each is called

    def __init__(self, flat: Tensor, layout: LayerMajor, rates: np.ndarray) -> None:
        self.layout, self.rates, self.n_steps = layout, rates, 0
        self.alike = len(set(rates.tolist())) == 1
        for name in self.vectors:
            setattr(self, name, flat.new_zeros(flat.shape))

    @abstractmethod
    def step(self, flat: Tensor, grad: Tensor, factor: float = 1.0) -> None:
        """Move ``flat`` in place, with ``factor`` times the learning rates."""

    def numbers(self, factor: float) -> np.ndarray:
        """The next update's numbers, (n_numbers, S), or (n_numbers, 1) where rates are ``alike``.

        What ``step`` makes of ``factor``; each call counts as an update.
        """
        raise NotImplementedError(f"{type(self).__name__} has no numbers: n_numbers is 0")

    def move(self, flat: Tensor, grad: Tensor, numbers: Sequence[Tensor]) -> None:
        """Move ``flat`` in place by ``numbers`` as they lie on the device.

        Each is (S, 1, 1), or (1,) where rates are ``alike``.

        Nothing may be read or sent, and what is written is written in place.
        """
        raise NotImplementedError(f"{type(self).__name__} has no move: n_numbers is 0")

    def finite(self) -> Tensor | None:
        """Whether each seed's state is finite, (S,) bool; None where there is no state."""
        import torch

        blocks = [b for name in self.vectors for b in self.layout.views(getattr(self, name))]
        found = [torch.isfinite(b).flatten(1).all(1) for b in blocks]
        return torch.stack(found).all(0) if found else None

    def select(self, flat: Tensor, keep: Tensor) -> Self:
        """The same, with its state, of the seeds at positions ``keep``; ``flat``: their weights."""
        rates = self.rates[keep.cpu().numpy()]
        other = type(self)(flat, self.layout.selected(len(keep)), rates)
        other.n_steps = self.n_steps
        for name in self.vectors:
            getattr(other, name).copy_(self.layout.select(getattr(self, name), keep))
        return other


def names() -> tuple[str, ...]:
    """The optimisers there are; none is imported, and neither is torch."""
    return in_folder(__path__)


def optimiser(name: str) -> type[Optimiser]:
    """The optimiser of that name; ValueError with the valid names where there is none."""
    found: type[Optimiser] = from_folder("optimizer", name, __name__, __path__).OPTIMISER
    return found
