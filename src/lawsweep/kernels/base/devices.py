"""How much is done at a time: tiles, blocks and stacks of all kernels, by device.  No torch.

What a kernel computes does not depend on these (but for the order of its roundings): they keep work
in a core's cache and launches on a GPU few.  A number without a device is that of both.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Size(NamedTuple):
    """A size on a CPU and on a GPU."""

    cpu: int
    gpu: int

    def on(self, device: Any) -> int:
        """That of a torch device, or of its name."""
        return self.cpu if getattr(device, "type", str(device)).startswith("cpu") else self.gpu


# Most rows of a tile of a Gram.  On a CPU the products of smaller tiles run below the full rate,
# and the elementwise passes over larger ones miss the cache (750 to 1200 measured within 4 %; 512
# and 1500 some 10 % slower).  A GPU wants fewer, larger launches.
GRAM_TILE = Size(1024, 4096)
GRAM_CUT = 256  # rows below which the price of a call exceeds that of the wasted half
# Rows that are transposed at once: a whole tile's columns miss the cache, twice the time where the
# tile's width is no power of 2, and five times where it is.
MIRRORED_ROWS = 64
# Rows worked on at a time where no Gram is formed.  On a CPU a tile's product (2048 x 300 doubles,
# 5 MB) is near the cache when it is passed over, and large enough for the product's full rate.
ROWS_TILE = Size(2048, 16384)
# Numbers of a stack of Grams that goes through the steps together: 2 MB of doubles stay in a core's
# cache; at N = 64 half of that is as fast, and more no faster.
STACK = Size(2**18, 2**28)

KERNEL_ROWS = 1024  # rows of two kernels that are compared at once
BASIS_ROWS = 4096  # samples at a time where something as wide as a basis is formed
JACOBIAN_BYTES = 2**26  # of Jacobian rows held at once where p < N
NORMAL_COLUMNS = 512  # of J^T J computed at once, from the diagonal down

# Order below which a block goes to LAPACK: 192 to 512 measured alike; below, calls cost more.
CHOLESKY_BLOCK = 256
# The same where the blocks' residuals are computed, which costs in proportion to their order: at
# N = 3000 the whole takes 1.64 floors with 128 and 1.73 with 256 (1.30 unwatched).
CHOLESKY_WATCHED = 128
# Order up to which one thread is as fast as several, and the most rows of what one of them takes.
CHOLESKY_ALONE, CHOLESKY_ROWS = 512, 1536
CHOLESKY_GRAIN = 64  # halves are multiples of this, the unit of the matrix product's own tiles
NORM_ROWS = 512  # torch takes the norm of a whole matrix with one thread: a thread takes so many

DRAWN = 2**22  # numbers drawn at a time: what a law needs beside its rows stays small
TARGET_ROWS = 2**15  # rows of a target at a time, where they are drawn and where they are summed
SAMPLED_PAIRS = 2**16  # pairs of rows, or rows, of a sampled norm at a time
PAIR_NUMBERS = 2**20  # of the largest temporary of a block of pairs of rows; 8 MiB in float64
# Products with the Hessian keep two matrices of this many numbers (N x R M) between them, at most;
# larger ones are computed again for each product.
KEPT_NUMBERS = 2**26

ANGLE_NUMBERS = 2**20  # of pairs of rows whose angle is found by Lagrange's identity at once
HERMITE_ROWS = 4096  # scales whose Hermite coefficients are found at once

# Bytes of features and errors in a block of seeds, for each thread.  Measured at N = 400, widths 22
# (0.42 MB a seed), ten seeds, on a core with 2 MB of L2: 96 us a seed and step with blocks of five
# seeds as with blocks of two, 108 with one, 104 with ten; 62 of them are products, at 0.6 of a
# large one's rate.
TRAINING_BYTES = 2**21
# A step of one seed whose largest product has fewer operations is no faster by two threads than by
# one (measured: at 4e5, 0.8 times as fast; at 1.2e6, 1.03 times).
SMALL_PRODUCT = 1e6

# Bytes of an array whose memory is kept for the next one, at least and at most, and of all that is
# kept: memory that the process needs at its peak, not more.
WORKSPACE = (2**25, 2**29, 2**30)
