"""Runs of memorization: draws, training, and from there to rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lawsweep import stream
from lawsweep.experiments.batches import caught, in_batches, most_at_once, overlapping
from lawsweep.experiments.memorization.cost import cost
from lawsweep.experiments.memorization.held import run_bytes
from lawsweep.experiments.memorization.metrics import Metrics
from lawsweep.experiments.memorization.params import LM, Params
from lawsweep.worker.ahead import drawn_together, later

if TYPE_CHECKING:
    import numpy as np

    from lawsweep.kernels.ntk.change import KernelChange, KernelEnd


@dataclass(frozen=True, eq=False)
class Drawn:
    """One run's inputs (N, d), targets as ``train`` takes them, and initial weights.

    Or those of S runs, stacked.
    """

    x: Any
    y: Any
    weights: list[Any]

    def run(self, k: int) -> Drawn:
        """One of many that are stacked."""
        return Drawn(self.x[k], self.y[k], [w[k] for w in self.weights])


@dataclass(frozen=True, eq=False)
class Trained:
    """What an optimiser made of one run; ``window`` NaN and ``rounding`` None where there is none.

    ``weights`` are the last ones, and ``grad_norm`` and ``distance`` theirs; ``curve`` is (2, K).
    """

    weights: list[Any]
    initial_loss: float
    final_loss: float
    best_loss: float
    window: float
    grad_norm: float
    n_steps: int
    reason: str
    distance: float
    init_norm: float
    n_wrong: int | None
    rounding: float | None
    curve: np.ndarray
    early: tuple[float, ...] | None = None


def rows(params: Sequence[Params], seeds: Sequence[int], device: str) -> list[Metrics | Exception]:
    """One answer a run, in order, a row or the exception that is its failure.

    The runs differ in nothing that a shape depends on but, perhaps, in whether targets are classes.

    Each run draws from its own streams, and is trained as alone but for rounding: batched products
    may round otherwise, and long training amplifies it past the 1e-9 that a fused run owes its
    solo run.  The row says so: ``early_losses`` agree at first, and the metrics that may not are
    marked ``chaotic``.  Levenberg-Marquardt goes through the runs one by one.  On a device a batch
    has as many as fit.
    """
    runs = list(zip(params, seeds, strict=True))
    if params[0].optimizer == LM:
        return [caught(partial(_one_by_factors, p, s, device)) for p, s in runs]
    answers: dict[int, Metrics | Exception] = {}
    kinds = [[k for k, p in enumerate(params) if (p.targets == "classes") == classes]
             for classes in (False, True)]  # fmt: skip
    for some, others in zip(kinds, (kinds[1], []), strict=True):
        if some:
            one = params[some[0]]
            drawn = one.n_samples * (one.input_dim + 1) + one.network.n_weights
            most = most_at_once(float(run_bytes(one)), device, drawn)
            if most is not None:
                most = overlapping(cost(one).work, len(some), most, device)
            then = [runs[k] for k in others] or later()
            found = in_batches([runs[k] for k in some], partial(group, device=device), most, then)
            answers.update(zip(some, found, strict=True))
    return [answers[k] for k in range(len(runs))]


def _one_by_factors(p: Params, seed: int, device: str) -> Metrics:
    one = draw(p, seed, device)
    return row_of(p, seed, one, _least_squares(p, one))


def group(runs: Sequence[tuple[Params, int]], device: str) -> list[Metrics | Exception]:
    """Runs that are trained together.  What cannot be drawn or trained costs the others nothing."""
    answers: list[Any] = drawn_together(_draws, runs, device)
    drawn = [k for k, one in enumerate(answers) if isinstance(one, Drawn)]
    finite = [k for k in drawn if _is_finite(answers[k])]
    # What training refuses it refuses alone, in its own words.
    alone = [[k] for k in drawn if k not in finite]
    for some in ([finite] if finite else []) + alone:
        given, chosen = [answers[k] for k in some], [runs[k] for k in some]
        for k in some:
            answers[k] = None  # what was drawn goes once it is stacked
        train = partial(_trained_rows, chosen, given, device)
        found = caught(train) if some in alone else train()
        for k, one in zip(some, [found] if isinstance(found, Exception) else found, strict=True):
            answers[k] = one
    return answers


def _draws(runs: Sequence[tuple[Params, int]]) -> list[Any]:
    return [caught(partial(draw, p, seed, "cpu")) for p, seed in runs]


def _trained_rows(
    runs: Sequence[tuple[Params, int]], drawn: list[Drawn], device: str
) -> list[Metrics | Exception]:
    stacked = _stacked(drawn, device)
    drawn.clear()
    trained = _first_order([p for p, _ in runs], stacked)
    return [
        caught(partial(row_of, p, seed, stacked.run(k), found))
        for k, ((p, seed), found) in enumerate(zip(runs, trained, strict=True))
    ]


def _is_finite(one: Drawn) -> bool:
    ends = [float(end) for t in (one.x, one.y, *one.weights) for end in t.aminmax()]
    return all(map(math.isfinite, ends))


def _stacked(drawn: Sequence[Drawn], device: str) -> Drawn:
    """Many runs' (S, ...) on the device; what one alone has is not copied."""
    import torch

    def joined(tensors: Sequence[Any]) -> Any:
        whole = torch.stack(list(tensors)) if len(tensors) > 1 else tensors[0][None]
        return whole.to(device)

    weights = [joined(layer) for layer in zip(*(one.weights for one in drawn), strict=True)]
    return Drawn(joined([one.x for one in drawn]), joined([one.y for one in drawn]), weights)


def draw(p: Params, seed: int, device: str) -> Drawn:
    """The data and the weights of one run."""
    import torch

    from lawsweep.kernels.data.sampling import DTYPES
    from lawsweep.kernels.data.sampling import rows as sample
    from lawsweep.kernels.network.init import init_weights

    dtype, n = DTYPES[p.dtype], p.n_samples
    x = sample(p.data, stream(seed, "data"), n, p.input_dim, dtype, device)
    rng = stream(seed, "targets")
    if p.targets == "classes":
        y = torch.from_numpy(rng.integers(0, p.n_classes, n)).to(device)
        if p.loss == "squared":
            y = torch.nn.functional.one_hot(y, p.n_classes).to(dtype)
    else:
        law = "gaussian" if p.targets == "gaussian" else "rademacher"
        y = sample(law, rng, n, 1, dtype, device)[:, 0]
    weights = init_weights(p.network, stream(seed, "weights"), dtype=dtype, device=device)
    return Drawn(x, y, weights)


def _first_order(params: Sequence[Params], drawn: Drawn) -> list[Trained]:
    import numpy as np

    from lawsweep.kernels.activations import activation
    from lawsweep.kernels.training.stop import EARLY_STEPS
    from lawsweep.kernels.training.train import train

    p = params[0]
    usual = 1.0 / (10.0 * math.sqrt(p.n_samples))
    found = train(
        drawn.x,
        drawn.y,
        drawn.weights,
        activation(p.activation),
        learning_rate=[usual if q.learning_rate is None else q.learning_rate for q in params],
        optimizer=p.optimizer,
        loss=p.loss,
        schedule=p.schedule,
        max_steps=p.max_steps,
        stop_rule=p.stop_rule,
        target_loss=[q.target_loss for q in params],
    )
    wrong = [math.nan] * len(params) if found.n_wrong is None else found.n_wrong.tolist()
    trained = []
    for i in range(len(params)):
        n_steps, final = int(found.n_steps[i]), float(found.final_loss[i])
        before = found.curve_steps < n_steps
        steps = np.append(found.curve_steps[before], n_steps)
        trained.append(
            Trained(
                weights=[w[i] for w in found.weights],
                initial_loss=float(found.initial_loss[i]),
                final_loss=final,
                best_loss=float(found.best_loss[i]),
                window=float(found.window_loss[i]),
                grad_norm=float(found.grad_norm[i]),
                n_steps=n_steps,
                reason=found.stop_reason[i].value,
                distance=float(found.distance[i]),
                init_norm=float(found.init_norm[i]),
                n_wrong=None if math.isnan(wrong[i]) else int(wrong[i]),
                rounding=None,
                curve=np.stack([steps, np.append(found.curve_loss[i][before], final)]),
                early=tuple(
                    found.early_loss[i][found.n_steps[i] >= np.array(EARLY_STEPS)].tolist()
                ),
            )
        )
    return trained


def _least_squares(p: Params, one: Drawn) -> Trained:
    import numpy as np

    from lawsweep.kernels.activations import activation
    from lawsweep.kernels.network.forward import forward
    from lawsweep.kernels.optimise.levenberg_marquardt import least_squares
    from lawsweep.kernels.training.losses import n_wrong

    act = activation(p.activation)
    found = least_squares(
        one.x, one.y, one.weights, act, max_steps=p.max_steps, target_loss=p.target_loss
    )
    wrong = None
    if math.isfinite(found.best_loss):
        wrong = n_wrong("squared", forward(p.network, found.weights, one.x)[0][-1], one.y)
    return Trained(
        weights=found.weights,
        initial_loss=float(found.loss[0]),
        final_loss=found.best_loss,
        best_loss=found.best_loss if math.isfinite(found.best_loss) else math.inf,
        window=math.nan,
        grad_norm=found.grad_norm,
        n_steps=found.n_steps,
        reason=found.reason.value,
        distance=found.distance if math.isfinite(found.best_loss) else math.nan,
        init_norm=found.init_norm,
        n_wrong=wrong,
        rounding=found.rounding_loss if math.isfinite(found.rounding_loss) else None,
        curve=np.stack([np.arange(len(found.loss)), found.loss]),
    )


def row_of(p: Params, seed: int, one: Drawn, found: Trained) -> Metrics:
    """The Metrics of what an optimiser made of one run; the NTK at both ends, if asked for."""
    diverged = found.reason == "diverged"
    fitted = found.best_loss <= p.memorized_below
    if p.loss == "logistic":
        fitted = found.n_wrong == 0 or found.best_loss < math.log(2.0) / p.n_samples
    return Metrics(
        final_loss=found.final_loss,
        figure_loss=None if math.isnan(found.window) else 2.0 * found.window,
        best_loss=found.best_loss,
        initial_loss=found.initial_loss,
        memorized=fitted,
        stop_reason=found.reason,
        n_steps=found.n_steps,
        grad_norm=found.grad_norm,
        n_dead_samples=None if diverged else _n_dead(p, one.x, found.weights),
        n_params=sum(w.numel() for w in one.weights),
        n_wrong=found.n_wrong,
        distance=found.distance,
        relative_distance=found.distance / found.init_norm,
        rounding_loss=found.rounding,
        early_losses=found.early,
        loss_curve=found.curve if p.keep_curve else None,
        **_kernel(p, seed, one, None if diverged else found.weights),
    )


def _kernel(p: Params, seed: int, one: Drawn, weights: list[Any] | None) -> dict[str, Any]:
    """The metrics of the NTK at both ends; ``weights`` None: at the start alone."""
    if not p.measure_kernel:
        return {**_end("start", None), **_end("end", None), **_moved(None)}
    from lawsweep.kernels.ntk.change import kernel_change

    rng = stream(seed, "lanczos")
    found = kernel_change(p.network, one.x, one.weights, weights, start=rng)
    return {**_end("start", found.start), **_end("end", found.end), **_moved(found)}


def _end(name: str, end: KernelEnd | None) -> dict[str, Any]:
    return {
        f"lambda_min_{name}": end and end.value,
        f"lambda_min_{name}_lower": end and end.lower,
        f"lambda_min_{name}_upper": end and end.upper,
        f"lambda_min_{name}_positive": end and end.positive,
        f"lambda_min_{name}_reason": end and end.reason.value,
    }


def _moved(found: KernelChange | None) -> dict[str, Any]:
    return {
        "kernel_change": found and found.change,
        "kernel_alignment": found and found.alignment,
    }


def _n_dead(p: Params, x: Any, weights: list[Any]) -> int | None:
    """Samples that some hidden ReLU layer maps to zero."""
    from lawsweep.kernels.network.forward import forward

    if not p.network.act.rectifies:
        return None
    # A layer of zeros makes all later ones zero, so the last hidden one tells (depth 1: none).
    hidden = forward(p.network, weights, x)[0][1:-1]
    return int((hidden[-1] == 0).all(-1).sum()) if hidden else 0
