"""A preconditioner for the NTK's Gram matrix: its principal directions, removed by Woodbury.

In orthonormal bases (u_i) of layer l's features and (w_j) of its backprops, the Jacobian of that
layer has the columns a_ij = (F u_i) o (B w_j), and K_l = sum_ij a_ij a_ij^T exactly.  With the
eigenvectors of F^T F (eigenvalues s_i) and B^T B (t_j) a column's size is about
|a_ij|^2 = s_i t_j / N, as if the two were independent, and a few columns hold nearly all of the
trace: the mean of F with every w_j, the mean of B with every u_i, and the products of the leading
directions.  With A = the r largest of them over all layers,

    K = A A^T + R,  R positive semidefinite,  tr R = tr K - ||A||_F^2,  M = c I + A A^T,

c = tr R / N, and M^{-1} y = (y - A (c I + A^T A)^{-1} A^T y) / c.  Derived for this project.  On
sigmoid networks (L = 3, N = p / 4) r = 4 d takes the condition number from 2e7 to some hundreds.

Everything here is small (no N): moments in, coefficients out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lawsweep.kernels.linalg.woodbury import Woodbury
from lawsweep.kernels.ntk.factors import LayerPairs

Moments = Sequence[tuple[Tensor, Tensor | None]]


def principal_pairs(moments: Moments, layers: Sequence[int], rank: int) -> list[LayerPairs]:
    """The ``rank`` largest columns over all layers, from their second moments.

    ``moments``: (F^T F, B^T B or None) for each of ``layers``, as ``Jacobian.second_moments``
    gives, summed over all samples.  Fewer where the network has fewer parameters, none where
    moments are not finite.
    """
    sizes, found = [], []
    sound: list[Tensor] = []
    for left, right in moments:
        s, u = torch.linalg.eigh(_finite(left, sound))
        t, w = (s.new_ones(1), None) if right is None else torch.linalg.eigh(_finite(right, sound))
        # Columns of no size at all, or of rounding, are no directions.
        grid = s.clamp_min(0.0)[:, None] * t.clamp_min(0.0)[None, :]
        sizes.append(grid.flatten())
        found.append((u, w, len(t)))
    everything = torch.cat(sizes)
    order = everything.argsort(descending=True, stable=True)[:rank]
    above = everything[order] > torch.finfo(everything.dtype).eps * everything.max()
    # Sorted, so those above come first.  One answer of the device, and one array carried over.
    count = torch.where(torch.stack(sound).all(), above.sum(), 0).unsqueeze(0)
    *ordered, n = torch.cat([order, count]).tolist()
    if not n:
        return []
    kept, at = torch.tensor(ordered[:n], dtype=torch.long), 0
    parts: list[Tensor] = []
    for size, (_, _, width) in zip(sizes, found, strict=True):
        mine = kept[(kept >= at) & (kept < at + len(size))] - at
        at += len(size)
        parts += (mine // width).unique(return_inverse=True)
        parts += (mine % width).unique(return_inverse=True)
    there = torch.cat(parts).to(order.device).split([len(part) for part in parts])
    chosen = []
    for k, (layer, (u, w, _)) in enumerate(zip(layers, found, strict=True)):
        rows, first, cols, second = there[4 * k : 4 * k + 4]
        if len(rows):
            right = None if w is None else w[:, cols]
            chosen.append(LayerPairs(layer, u[:, rows], right, first, second))
    return chosen


def _finite(moment: Tensor, sound: list[Tensor]) -> Tensor:
    """``moment``, or zeros where it is not finite, which eigh refuses; adds whether it is."""
    good = moment.isfinite().all()
    sound.append(good)
    return torch.where(good, moment, 0.0)


def woodbury(inner: Tensor, trace: float, n_samples: int) -> Woodbury:
    """The preconditioner from ``inner`` = A^T A (r, r), tr K and N.

    Where A holds the whole trace to rounding, c is that rounding, not 0.
    """
    floor = 1e3 * float(torch.finfo(inner.dtype).eps) * trace
    c = max(trace - float(inner.diagonal().sum()), floor) / n_samples
    return Woodbury.of(inner, c)
