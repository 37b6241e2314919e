"""Loss and gradient of bias-free fully connected networks, many seeds at once.

The gradient is written out (no autograd: at the sizes of interest a step is a dozen small matrix
products, and bookkeeping would dominate).  With F_0 = X, G_l = F_{l-1} W_l, F_l = act(G_l) and
B_L = dLoss/dG_L (``losses``),

    B_{l-1} = (B_l W_l^T) o act'(G_{l-1}),   dLoss/dW_l = F_{l-1}^T B_l,

which is 2N(3p - n_0 n_1) floating-point operations a step for p weights.

On a CPU the seeds are taken in blocks that share their features and back-propagated errors: these
then stay in the cache from one block to the next, and only weights and data come from memory.

A seed alone, or with other threads, differs from one in a batch by rounding.  What is done here
keeps even that small, and makes it none with torch 2.13 and MKL 2024.2 on an Intel Xeon with
AVX-512 (which nothing promises: on other processors a batched product and a single one round
otherwise): a batched product gives each matrix to one thread, a matrix times one column is made
seed by seed, by one thread, and so is a sum over the samples of a seed that is alone; and an
elementwise function that rounds is computed seed by seed and by one thread, unless seeds and the
threads' shares are whole vectors, since what is left over is rounded by other code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.base import devices
from lawsweep.kernels.base.threads import VECTOR, OneThread, evenly_shared, parts
from lawsweep.kernels.training.losses import LossName, head


def blocks(
    x: Tensor,
    y: Tensor,
    weights: Sequence[Tensor],
    grads: Sequence[Tensor],
    losses: Tensor,
    act: Activation,
    loss: LossName,
) -> list[Block]:
    """Blocks of consecutive seeds, to be evaluated one after the other.

    ``x`` (S, N, n_0), ``y`` as ``losses.as_targets`` gives it, ``weights`` and ``grads`` L
    tensors (S, n_{l-1}, n_l), ``losses`` (K, S, 1, 1); all contiguous, and read or written where
    they are.
    """
    n_seeds, n_samples, _ = x.shape
    widths = [w.shape[-1] for w in weights]
    on_cpu = x.device.type == "cpu"
    # Then ``_gradient_groups`` gains by it.
    alone = on_cpu and n_seeds == 1 and torch.get_num_threads() > 1
    features = _Room(widths, x.shape[-1] if alone else 0, apart=len(widths))
    # The outputs become errors where they lie.  Of the others only a layer's and the next one's
    # are ever needed together, unless their products are put off to be made in groups.
    errors = _Room(widths[:-1], 0, apart=len(widths) if alone else 2)
    a_seed = n_samples * (features.columns + errors.columns) * x.element_size()
    size = _seeds_a_block(a_seed, n_seeds) if on_cpu else n_seeds
    features.make(x, size)
    errors.make(x, size)
    found = []
    for start in range(0, n_seeds, size):
        at = slice(start, min(start + size, n_seeds))
        n = at.stop - start
        found.append(
            Block(
                features.first(x) if alone else x[at],
                y[at],
                [w[at] for w in weights],
                [w[at] for w in grads],
                losses[:, at],
                features.layers(n),
                errors.layers(n),
                act,
                loss,
            )
        )
    return found


def _seeds_a_block(bytes_a_seed: int, n_seeds: int) -> int:
    """As many as the caches hold, as many for each thread, and in no more blocks about as many."""
    threads = int(torch.get_num_threads())
    most = min(n_seeds, threads * max(1, devices.on("cpu").training_bytes // bytes_a_seed))
    return -(-n_seeds // -(-n_seeds // most))


class _Room:
    """Memory for the layers of a block, one after the other, and before them one for the data.

    ``apart``: how many successive layers must not share memory.  Fewer than there are: layer l lies
    where layer l + ``apart`` does.
    """

    def __init__(self, widths: Sequence[int], data_width: int, apart: int) -> None:
        self._widths, self._data_width, self._apart = list(widths), data_width, apart
        most = max(widths, default=0)
        places = range(min(apart, len(widths)))
        shared = apart < len(widths)
        self._sizes = [most if shared else widths[k] for k in places]  # of places, in columns
        self.columns = data_width + sum(self._sizes)

    def make(self, like: Tensor, n_seeds: int) -> None:
        """Take the memory: for ``n_seeds`` seeds of ``like``'s samples, type and device."""
        self._rows = like.shape[1]
        self._flat = like.new_empty(n_seeds * self._rows * self.columns)

    def _at(self, column: int, n_seeds: int, width: int) -> Tensor:
        start = n_seeds * self._rows * column
        end = start + n_seeds * self._rows * width
        return self._flat[start:end].view(n_seeds, self._rows, width)

    def first(self, x: Tensor) -> Tensor:
        """A copy of the data that lies right before the layers."""
        return self._at(0, len(x), self._data_width).copy_(x)

    def layers(self, n_seeds: int) -> list[Tensor]:
        """One (n_seeds, N, n_l) a layer."""
        starts = [self._data_width + sum(self._sizes[:k]) for k in range(len(self._sizes))]
        places = [starts[k % self._apart] for k in range(len(self._widths))]
        return [self._at(at, n_seeds, w) for at, w in zip(places, self._widths, strict=True)]


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
        loss: LossName,
    ) -> None:
        self._x, self._w, self._wt = x, weights, [w.mT for w in weights]
        self._g, self._b, self._act = g, [*b, g[-1]], act
        self._relu = act.rectifies
        self._split = x.device.type == "cpu"
        self._head = head(loss, g[-1], y, losses, self._split)
        # With ReLU the features lie in buffers, else they are made anew in each step.
        self._features_t = [x.mT, *(t.mT for t in g[:-1])] if self._relu else []
        self._grads = grads
        self._columns = self._split and g[-1].shape[-1] == 1
        self._tops = parts(weights[-1], self._columns), parts(g[-1], self._columns)
        self._top_grads = parts(grads[-1], self._columns)
        self._lasts = self._seeds([x, *g[:-1]][-1]) if self._relu or len(g) == 1 else None
        several = self._split and torch.get_num_threads() > 1
        largest = 2.0 * x.shape[1] * max(w.shape[1] * w.shape[2] for w in weights)
        alone = several and len(x) == 1
        self._whole = OneThread(alone and largest < devices.on("cpu").small_product)
        self._sums = OneThread(alone)
        self._top = OneThread(alone or self._columns)
        hidden = [t[0].numel() for t in g[:-1]]
        vectors = all(n % VECTOR == 0 and evenly_shared(n * len(x)) for n in hidden)
        self._by_seed = self._split and not vectors
        self._elementwise = OneThread(self._by_seed and not all(map(evenly_shared, hidden)))
        # Put off, the products need every layer's errors; a last block of one seed shares memory.
        apart = len({t.data_ptr() for t in b}) == len(b)
        # Views of what is multiplied together: (features, errors, gradients, threads).
        self.groups = self._gradient_groups() if alone and self._relu and apart else []

    def _gradient_groups(self) -> list[tuple[Tensor, Tensor, Tensor, OneThread]]:
        """Products F^T B into the gradients, layers joined to batches where they adjoin in memory.

        Threads share a batch matrix by matrix, which rounds as one thread does.
        """
        groups: list[list[tuple[Tensor, Tensor, Tensor]]] = []
        below_top = slice(0, len(self._w) - 1)
        for triple in zip([self._x, *self._g], self._b[below_top], self._grads, strict=False):
            together = zip(groups[-1][-1], triple, strict=True) if groups else ()
            if groups and all(_adjoin(a, b) for a, b in together):
                groups[-1].append(triple)
            else:
                groups.append([triple])
        found = []
        for group in groups:
            f, b, w = (_joined(list(tensors)) for tensors in zip(*group, strict=True))
            found.append((f.mT, b, w, OneThread(len(f) == 1)))
        return found

    def evaluate(self, slot: int) -> None:
        """Loss summed over samples, into ``losses[slot]``; gradient, into ``grads``."""
        with self._whole:
            features = [self._x]
            for w, g in zip(self._w[:-1], self._g, strict=False):
                torch.bmm(features[-1], w, out=g)
                # ReLU in place loses nothing: relu(G) > 0 where G > 0.
                features.append(g.relu_() if self._relu else self._activate(g))
            self._outputs(slot, features[-1])
            self._back(features)
            for f, b, w, sums in self.groups:
                with sums:
                    torch.bmm(f, b, out=w)

    def _outputs(self, slot: int, last: Tensor) -> None:
        """Outputs, losses, and the last weights' gradient."""
        with self._top:
            lasts, transposed = self._lasts or self._seeds(last)
            for f, w, out in zip(lasts, *self._tops, strict=True):
                torch.bmm(f, w, out=out)
            self._head.evaluate(slot)
            for f, b, w in zip(transposed, self._tops[1], self._top_grads, strict=True):
                torch.bmm(f, b, out=w)

    def _seeds(self, last: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Factors of the last layer's products, and their transposes."""
        return parts(last, self._columns), parts(last.mT, self._columns)

    def _activate(self, g: Tensor) -> Tensor:
        """act(G)."""
        with self._elementwise:
            seeds = parts(g, self._by_seed)
            return torch.cat([self._act.f(p) for p in seeds]) if len(seeds) > 1 else self._act.f(g)

    def _back(self, features: list[Tensor]) -> None:
        """Errors from the last layer down, and the gradients unless they are made in groups."""
        top = len(self._w) - 1
        for layer in range(top, -1, -1):
            if layer < top and not self.groups:  # at once, while the errors are in the cache
                f_t = self._features_t[layer] if self._relu else features[layer].mT
                with self._sums:
                    torch.bmm(f_t, self._b[layer], out=self._grads[layer])
            if layer == 0:
                return
            below = self._b[layer - 1]
            if self._wt[layer].shape[1] == 1:  # an outer product: one multiplication an entry
                torch.mul(self._b[layer], self._wt[layer], out=below)
            else:
                torch.bmm(self._b[layer], self._wt[layer], out=below)
            g = self._g[layer - 1]
            if self._relu:
                # below o (G > 0) in one pass; as two calls it takes four times as long.
                torch.ops.aten.threshold_backward.grad_input(below, g, 0, grad_input=below)
                continue
            with self._elementwise:
                seeds = (parts(t, self._by_seed) for t in (below, g, features[layer]))
                for below_i, g_i, f_i in zip(*seeds, strict=True):
                    below_i.mul_(self._act.slope(g_i, f_i))


def _adjoin(a: Tensor, b: Tensor) -> bool:
    """Whether ``b`` has the shape of ``a`` and lies right behind it in memory."""
    ends = a.data_ptr() + a.numel() * a.element_size()
    shared = bool(a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr())
    return shared and a.shape == b.shape and ends == b.data_ptr()


def _joined(tensors: list[Tensor]) -> Tensor:
    """Adjoining (S, a, b) tensors as one batch, (S * len, a, b), sharing memory."""
    first = tensors[0]
    return first.as_strided((len(first) * len(tensors), *first.shape[1:]), first.stride())
