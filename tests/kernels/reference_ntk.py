"""Slow references for the NTK kernels: plain torch autograd and plain quadrature.

Nothing of lawsweep is used here, activations included.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

FUNCTIONS = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "erf": torch.erf,
    "abs": torch.abs,
    "elu": F.elu,
    "linear": lambda g: g,
}


def network(x: Tensor, weights: list[Tensor], biases: list[Tensor] | None, name: str) -> Tensor:
    """The scalar output for one sample, shape (n_0,) -> ()."""
    h = x
    for k, w in enumerate(weights):
        h = torch.einsum("i,ij->j", h, w)
        if biases is not None:
            h = h + biases[k]
        if k < len(weights) - 1:
            h = FUNCTIONS[name](h)
    return h[0]


def jacobians(
    x: Tensor, weights: list[Tensor], biases: list[Tensor] | None, name: str
) -> list[Tensor]:
    """One (N, parameters of the layer) Jacobian a layer, by autograd, sample by sample."""
    ws = [w.clone().requires_grad_(True) for w in weights]
    bs = None if biases is None else [b.clone().requires_grad_(True) for b in biases]
    rows: list[list[Tensor]] = [[] for _ in ws]
    for sample in x:
        parameters = ws + (bs or [])
        grads = torch.autograd.grad(network(sample, ws, bs, name), parameters, allow_unused=True)
        grads = [
            torch.zeros_like(p) if g is None else g for g, p in zip(grads, parameters, strict=True)
        ]
        for k in range(len(ws)):
            parts = [grads[k].reshape(-1)]
            if bs is not None:
                parts.append(grads[len(ws) + k].reshape(-1))
            rows[k].append(torch.cat(parts))
    return [torch.stack(r) for r in rows]


def gauss(n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of E g(Z), Z standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    return nodes, weights / math.sqrt(2.0 * math.pi)


def sigmoid_limits() -> tuple[float, float]:
    """(c1, c2) of THEORY part B: lambda_min(K) / d^2 -> c1 + c2, layer 2 alone -> c2."""
    z, w = gauss()

    def s(t):
        return 1.0 / (1.0 + np.exp(-t))

    def ds(t):
        return s(t) * (1.0 - s(t))

    m0 = float(w @ s(z))
    variance = float(w @ s(z) ** 2) - m0**2
    inner = ds(m0 * z[:, None] + math.sqrt(variance) * z[None, :])  # rows: c, columns: z
    mean = inner @ w
    q0 = float(w @ mean**2)
    q1 = float(w @ (inner**2 @ w - mean**2))
    first, second = float(w @ ds(z)), float(w @ ds(z) ** 2)
    return (second - first**2) * q0 + second * q1, variance * q1
