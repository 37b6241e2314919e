"""What training accepts: shapes, dtypes and settings, each refused in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base.names import check_name
from lawsweep.kernels.training.losses import LossName
from lawsweep.kernels.training.optimisers import Schedule
from lawsweep.kernels.training.stop import StopRule


def check_tensors(x: Tensor, y: Tensor, weights: Sequence[Tensor], loss: LossName) -> None:
    """Raise ValueError unless the data and the weights fit each other and the loss."""
    check_name("loss", loss, get_args(LossName))
    if x.ndim != 3 or 0 in x.shape or tuple(y.shape[:2]) != tuple(x.shape[:2]):
        raise ValueError(
            "expected x of shape (S, N, d) and y of shape (S, N), none of them empty, got "
            f"{tuple(x.shape)} and {tuple(y.shape)}; add a leading axis for one seed"
        )
    width = x.shape[2]
    for layer, w in enumerate(weights, 1):
        if w.ndim != 3 or w.shape[0] != x.shape[0] or w.shape[1] != width or 0 in w.shape:
            raise ValueError(
                f"expected W_{layer} of shape ({x.shape[0]}, {width}, n_{layer}), got "
                f"{tuple(w.shape)}; give one (S, n_in, n_out) tensor a layer"
            )
        width = w.shape[2]
    if not weights:
        raise ValueError("expected weights of at least one layer, got none")
    classes = loss == "logistic" and width > 1
    _check_dtypes((x, *weights) if classes else (x, y, *weights))
    _check_targets(x, y, width, loss)


def _check_dtypes(tensors: Sequence[Tensor]) -> None:
    if {t.dtype for t in tensors} not in ({torch.float64}, {torch.float32}):
        raise ValueError(
            "expected x, y and weights all float64 or all float32 (y: int64 for a softmax), got "
            f"{', '.join(sorted({str(t.dtype) for t in tensors}))}; convert them first"
        )
    # The ends tell of NaN and inf, at no memory and one copy from a device.
    ends = [end.to(torch.float64) for t in tensors for end in torch.aminmax(t)]
    if not bool(torch.isfinite(torch.stack(ends)).all()):
        raise ValueError("expected finite x, y and weights, got NaN or inf; check the data")


def _check_targets(x: Tensor, y: Tensor, n_outputs: int, loss: LossName) -> None:
    samples = tuple(x.shape[:2])
    expected = (*samples, n_outputs) if loss == "squared" and n_outputs > 1 else samples
    if tuple(y.shape) != expected:
        raise ValueError(
            f"expected y of shape {expected} for loss {loss!r} and n_L = {n_outputs} outputs, "
            f"got {tuple(y.shape)}; let the last weights and y agree"
        )
    if loss == "squared":
        return
    if n_outputs == 1 and not bool((y.abs() == 1).all()):
        raise ValueError(
            "expected y of -1 and +1 for the logistic loss of one output, got other values; "
            "code the two classes so"
        )
    if n_outputs > 1 and y.dtype != torch.int64:
        raise ValueError(
            f"expected y of int64 class numbers for the logistic loss of {n_outputs} outputs, "
            f"got {y.dtype}; convert it first"
        )
    if n_outputs > 1 and not bool(((y >= 0) & (y < n_outputs)).all()):
        raise ValueError(
            f"expected class numbers in y from 0 to {n_outputs - 1}, got {int(y.min())} to "
            f"{int(y.max())}; let n_L be the number of classes"
        )


def as_rates(learning_rate: float | Sequence[float], n_seeds: int) -> np.ndarray:
    """One learning rate a seed, float64 (S,); ValueError unless positive and finite."""
    given = np.asarray(learning_rate, dtype=np.float64)
    if given.shape not in ((), (n_seeds,)):
        raise ValueError(
            f"expected one learning_rate or {n_seeds}, one a seed, got shape {given.shape}"
        )
    if not (np.isfinite(given) & (given > 0)).all():
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate!r}")
    return np.broadcast_to(given, (n_seeds,)).copy()


def as_targets_of_loss(target_loss: float | Sequence[float], n_seeds: int) -> np.ndarray:
    """The loss at which each seed ends, float64 (S,); ValueError unless 0 (off) or more."""
    given = np.asarray(target_loss, dtype=np.float64)
    if given.shape not in ((), (n_seeds,)):
        raise ValueError(
            f"expected one target_loss or {n_seeds}, one a seed, got shape {given.shape}"
        )
    if not (given >= 0).all():
        raise ValueError(f"target_loss must be at least 0 (0 is off), got {target_loss!r}")
    return np.broadcast_to(given, (n_seeds,)).copy()


def check_settings(max_steps: int, **names: str) -> None:
    """Raise ValueError for a setting out of range, or for a name that is not one of the valid."""
    valid = {
        "stop_rule": get_args(StopRule),
        "loss": get_args(LossName),
        "schedule": get_args(Schedule),
    }
    for name, value in names.items():
        check_name(name, value, valid[name])
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps!r}")
