"""Slow references for training: networks written plainly, autograd, torch.optim and its losses."""

from __future__ import annotations

import numpy as np
import torch

PLAIN = {
    "relu": torch.nn.functional.relu,
    "leaky_relu": torch.nn.functional.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "softplus": torch.nn.functional.softplus,
    "erf": torch.erf,
    "linear": lambda g: g,
}


def plain_loss(outputs, y, loss):
    """Outputs (N, C): torch's own losses, y as ``train`` takes it."""
    if loss == "squared" and outputs.shape[1] == 1:
        return torch.nn.functional.mse_loss(outputs[:, 0], y)
    if loss == "squared":
        return ((outputs - y) ** 2).sum(1).mean()
    if outputs.shape[1] == 1:
        zero_or_one = (y + 1) / 2
        return torch.nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], zero_or_one)
    return torch.nn.functional.cross_entropy(outputs, y)


def plain_training(
    x, y, weights, name, optimizer, lr, steps, loss="squared", schedule="constant", max_steps=None
):
    """The first seed alone, ``steps`` updates.  Weights, losses, norm of the last gradient.

    ``schedule`` "cosine" ends after ``max_steps`` (by default ``steps``).
    """
    ws = [w[0].clone().requires_grad_() for w in weights]
    method = {"adam": torch.optim.Adam, "gd": torch.optim.SGD}[optimizer](ws, lr=lr)
    annealing = None
    if schedule == "cosine":
        annealing = torch.optim.lr_scheduler.CosineAnnealingLR(method, T_max=max_steps or steps)
    losses = []
    for step in range(steps + 1):
        h = x[0]
        for w in ws[:-1]:
            h = PLAIN[name](h @ w)
        value = plain_loss(h @ ws[-1], y[0], loss)
        method.zero_grad()
        value.backward()
        losses.append(value.item())
        if step < steps:
            method.step()
            if annealing is not None:
                annealing.step()
    norm = float(torch.cat([w.grad.reshape(-1) for w in ws]).norm())
    return [w.detach() for w in ws], np.array(losses), norm
