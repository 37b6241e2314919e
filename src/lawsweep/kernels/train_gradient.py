"""Loss and gradient of bias-free fully connected networks, many seeds at once.

The gradient is written out (no autograd: at the sizes of interest a step is a dozen small matrix
products, and bookkeeping would dominate).  With F_0 = X, G_l = F_{l-1} W_l, F_l = act(G_l) and
r = G_L - y,

    B_L = (2/N) r,   B_{l-1} = (B_l W_l^T) o act'(G_{l-1}),   dLoss/dW_l = F_{l-1}^T B_l,

which is 2N(3p - n_0 n_1) floating-point operations a step for p weights.

On a CPU the seeds are taken in blocks that share their features and back-propagated errors: these
then stay in the cache from one block to the next, and only weights and data come from memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation

# Bytes of features and errors in a block.  Measured at N = 400, widths 22 (0.5 MB a seed), ten
# seeds, on a core with 2 MB of L2: a step of a seed takes 0.80 of its time alone with this, 0.91
# with a block for each seed, 0.84 with 8 MB.
BLOCK_BYTES = 3 * 2**19


def blocks(
    x: Tensor,
    y: Tensor,
    weights: Sequence[Tensor],
    grads: Sequence[Tensor],
    losses: Tensor,
    act: Activation,
) -> list[Block]:
    """Blocks of consecutive seeds, to be evaluated one after the other.

    ``x`` (S, N, n_0), ``y`` (S, N, 1), ``weights`` and ``grads`` L tensors (S, n_{l-1}, n_l) with
    n_L = 1, ``losses`` (K, S, 1, 1); all contiguous, and read or written where they are.
    """
    n_seeds, n_samples, _ = x.shape
    widths = [w.shape[-1] for w in weights]
    # Features and errors of a hidden layer each; the residual of the last.
    a_seed = n_samples * (2 * sum(widths[:-1]) + 1) * x.element_size()
    size = n_seeds if x.device.type != "cpu" else max(1, min(n_seeds, BLOCK_BYTES // a_seed))
    g = [x.new_empty((size, n_samples, n)) for n in widths]
    b = [x.new_empty((size, n_samples, n)) for n in widths[:-1]]
    found = []
    for start in range(0, n_seeds, size):
        at = slice(start, min(start + size, n_seeds))
        n = at.stop - start
        found.append(
            Block(
                x[at],
                y[at],
                [w[at] for w in weights],
                [w[at] for w in grads],
                losses[:, at],
                [t[:n] for t in g],
                [t[:n] for t in b],
                act,
            )
        )
    return found


class Block:
    """Some seeds, and views of every buffer that their step reads or writes.

    Views are made once: a step is bound by the number of calls, and so is making a view.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        weights: list[Tensor],
        grads: list[Tensor],
        losses: Tensor,
        g: list[Tensor],
        b: list[Tensor],
        act: Activation,
    ) -> None:
        self._x, self._xt, self._y = x, x.mT, y
        self._w, self._wt, self._grads = weights, [w.mT for w in weights], grads
        self._g, self._act = g, act
        self._r = g[-1]
        self._b = [*b, self._r]  # the residual is scaled to B_L where it lies
        self._scale = 2.0 / x.shape[1]
        self._relu = act.name == "relu"
        self._gt = [t.mT for t in g]
        split = x.device.type == "cpu"
        self._rs, self._rts = _parts(self._r, split), _parts(self._r.mT, split)
        self._ws, self._top_grads = _parts(weights[-1], split), _parts(grads[-1], split)
        self._losses = [_parts(one, split) for one in losses]
        # With ReLU the last features lie in a buffer, else they are made anew in each step.
        self._last = x if len(g) == 1 else g[-2] if self._relu else None
        self._split = split
        if self._last is not None:
            self._lasts = _parts(self._last, split), _parts(self._last.mT, split)

    def evaluate(self, slot: int) -> None:
        """Squared error summed over samples, into ``losses[slot]``; gradient, into ``grads``."""
        last, transposed = self._x, [self._xt]
        for w, g, gt in zip(self._w[:-1], self._g, self._gt, strict=False):
            torch.bmm(last, w, out=g)
            # ReLU in place loses nothing: relu(G) > 0 where G > 0.
            last = g.relu_() if self._relu else self._activate(g)
            transposed.append(gt if self._relu else last.mT)
        lasts, lasts_t = (
            self._lasts
            if self._last is not None
            else (_parts(last, self._split), _parts(last.mT, self._split))
        )
        _columns(lasts, self._ws, self._rs)
        self._r.sub_(self._y)
        _columns(self._rts, self._rs, self._losses[slot])
        self._r.mul_(self._scale)
        _columns(lasts_t, self._rs, self._top_grads)
        self._back(transposed)

    def _activate(self, g: Tensor) -> Tensor:
        """act(G), on the CPU seed by seed.

        Vectorised sigmoids and the like round the last few elements of an array by other code, so
        which elements those are must not depend on the other seeds.
        """
        parts = _parts(g, self._split)
        return torch.cat([self._act.f(p) for p in parts]) if len(parts) > 1 else self._act.f(g)

    def _back(self, transposed: list[Tensor]) -> None:
        """Errors and gradients from the last layer down, its own gradient excepted."""
        top = len(self._w) - 1
        for layer in range(top, 0, -1):
            if layer < top:
                torch.bmm(transposed[layer], self._b[layer], out=self._grads[layer])
            below = torch.bmm(self._b[layer], self._wt[layer], out=self._b[layer - 1])
            g = self._g[layer - 1]
            if self._relu:
                # below o (G > 0) in one pass; as two calls it takes four times as long.
                torch.ops.aten.threshold_backward.grad_input(below, g, 0, grad_input=below)
            else:
                pairs = zip(_parts(below, self._split), _parts(g, self._split), strict=True)
                for below_i, g_i in pairs:
                    below_i.mul_(self._act.df(g_i))
        if top > 0:
            torch.bmm(transposed[0], self._b[0], out=self._grads[0])


def _parts(a: Tensor, split: bool) -> tuple[Tensor, ...]:
    """The seeds one by one, or all together."""
    return a.split(1) if split else (a,)


def _columns(a: tuple[Tensor, ...], b: tuple[Tensor, ...], out: tuple[Tensor, ...]) -> None:
    """``a @ b`` for ``b`` of one column, into ``out``.

    On the CPU seed by seed: the batched product rounds a matrix times a column differently with
    the number of seeds (MKL 2024.2), and training would amplify the last bit.
    """
    for a_i, b_i, out_i in zip(a, b, out, strict=True):
        torch.bmm(a_i, b_i, out=out_i)
