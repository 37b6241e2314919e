"""Losses of training: their value and their derivative in the network's outputs.

A head works on outputs (S, N, C) in place: they become dLoss/dOutputs, and each seed's loss summed
over its N samples is written beside.  With f the outputs of one sample, its loss is

    squared                |f - y|^2, summed over outputs,
    logistic, C = 1        log(1 + exp(-y f)), y in {-1, +1},
    logistic, C >= 2       softmax cross-entropy, -log(exp(f_y) / sum_j exp(f_j)), y a class.

The logistic ones are written in the margin, log(1 + exp(s)) with s = -y f, or, over the classes
j other than y, s = log sum_j exp(f_j - f_y).  So the loss of a sample fitted well keeps its digits
(1 - p_y would lose them all from s = -37 on), and nothing overflows.
"""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from lawsweep.kernels.base.names import check_name
from lawsweep.kernels.base.threads import PARALLEL_FROM, OneThread, parts

LossName = Literal["squared", "logistic"]


class Head(Protocol):
    """The end of a step's forward pass and the start of its backward pass."""

    def evaluate(self, slot: int) -> None:
        """Losses summed over samples, into ``losses[slot]``; the outputs become derivatives."""


def head(name: LossName, outputs: Tensor, targets: Tensor, losses: Tensor, split: bool) -> Head:
    """The head for ``outputs`` (S, N, C), contiguous, and ``losses`` (K, S, 1, 1).

    ``targets`` as :func:`as_targets` gives them.  ``split``: take the seeds one by one.
    """
    check_name("loss", name, get_args(LossName))
    if name == "squared":
        return _Squared(outputs, targets, losses, split)
    if targets.dtype == torch.int64:
        return _Logistic(_softmax, outputs, targets, losses, split)
    return _Logistic(_binary, outputs, targets, losses, split)


def as_targets(name: LossName, y: Tensor, n_outputs: int) -> Tensor:
    """Targets as the heads take them: (S, N, C), for ``logistic`` (S, N, 1) whatever C."""
    check_name("loss", name, get_args(LossName))
    whole = name == "squared" and n_outputs > 1
    return (y if whole else y.unsqueeze(-1)).detach().contiguous()


class _Squared:
    """Sums of squares are products of columns: seed by seed and by one thread for the bits' sake.

    Views are made once, as in ``gradient.Block``.
    """

    def __init__(self, outputs: Tensor, targets: Tensor, losses: Tensor, split: bool) -> None:
        self._r, self._y = outputs, targets
        column = outputs.flatten(1).unsqueeze(-1)
        self._columns, self._rows = parts(column, split), parts(column.mT, split)
        self._losses = [parts(one, split) for one in losses]
        self._scale = 2.0 / outputs.shape[1]
        self._serial = OneThread(split)

    def evaluate(self, slot: int) -> None:
        self._r.sub_(self._y)
        with self._serial:
            pairs = zip(self._rows, self._columns, self._losses[slot], strict=True)
            for row, column, total in pairs:
                torch.bmm(row, column, out=total)
        self._r.mul_(self._scale)


class _Function(Protocol):
    def __call__(self, f: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Each sample's loss (S, N, 1) and its derivative (S, N, C)."""


class _Logistic:
    """On the CPU seed by seed, since exp and log round the end of an array by other code."""

    def __init__(
        self, function: _Function, outputs: Tensor, targets: Tensor, losses: Tensor, split: bool
    ) -> None:
        self._function = function
        self._outputs, self._targets = parts(outputs, split), parts(targets, split)
        self._losses = [parts(one, split) for one in losses]
        self._scale = 1.0 / outputs.shape[1]
        self._serial = OneThread(split and outputs.numel() >= PARALLEL_FROM)

    def evaluate(self, slot: int) -> None:
        with self._serial:
            for f, y, total in zip(self._outputs, self._targets, self._losses[slot], strict=True):
                loss, derivative = self._function(f, y)
                torch.sum(loss, 1, keepdim=True, out=total)
                torch.mul(derivative, self._scale, out=f)


def _softplus(s: Tensor) -> Tensor:
    """log(1 + exp(s)), to rounding for all s (torch's is linear beyond 20)."""
    return s.clamp_min(0.0) + torch.log1p(torch.exp(-s.abs()))


def _binary(f: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    s = -y * f
    return _softplus(s), -y * torch.sigmoid(s)


def _softmax(f: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """With p_j = exp(f_j - f_y - loss): the derivative is p_j, for class y -sum of the others."""
    over = (f - f.gather(-1, y)).scatter_(-1, y, -torch.inf)
    s = torch.logsumexp(over, -1, keepdim=True)
    loss = _softplus(s)
    return loss, torch.exp(over - loss).scatter_(-1, y, -torch.sigmoid(s))


def n_wrong(name: LossName, outputs: Tensor, y: Tensor) -> int | None:
    """Misclassified samples of one seed; None where the targets are no classes.

    ``outputs`` (N, C), ``y`` as ``train`` takes it.  Targets of the squared loss are classes if
    all are -1 or +1 (one output) or all one-hot.  A tie (an output of 0, or an equal one of
    another class) counts as wrong.
    """
    check_name("loss", name, get_args(LossName))
    if outputs.shape[-1] == 1:
        signs = bool((y.abs() == 1).all())
        return int((~(outputs[:, 0] * y > 0)).sum()) if signs else None
    if name == "squared":
        ones = y == 1
        if not bool(((y == 0) | ones).all() and (ones.sum(-1) == 1).all()):
            return None
        y = ones.to(torch.int64).argmax(-1)
    classes = y.unsqueeze(-1)
    others = outputs.scatter(-1, classes, -torch.inf).amax(-1, keepdim=True)
    return int((~(outputs.gather(-1, classes) > others)).sum())
