"""A device's rates, and the table of sizes and ways that follows from them.  No torch.

``sizes_of`` makes a table of a device's rates and its cache, by the reasons beside each line; no
number found on one device decides on another.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What a device does a second, by kind of kernel.

    ``matmul_*`` and ``cholesky_*``: operations a second of large ones (2 n^3 and n^3 / 3);
    ``solve_*``: of the two triangular solves of one vector (2 n^2); ``eigvals_float64``: n^3 a
    second of all eigenvalues of a small symmetric matrix, many at once.  ``bandwidth``: bytes a
    second; ``launch``: seconds of an operation on next to nothing; ``draws``: normal numbers a
    second, on the host.  ``cache``: bytes that a core keeps near.
    """

    matmul_float64: float
    matmul_float32: float
    cholesky_float64: float
    cholesky_float32: float
    solve_float64: float
    solve_float32: float
    eigvals_float64: float
    bandwidth: float
    launch: float
    draws: float
    cache: float


# Until measured.  A core of a server of 2023; a card of that year's data centres (not measured).
STATED_CPU = {
    "matmul_float64": 6e10, "matmul_float32": 1.2e11, "cholesky_float64": 4.5e10,
    "cholesky_float32": 8e10, "solve_float64": 2.5e9, "solve_float32": 5e9,
    "eigvals_float64": 4e9, "bandwidth": 1e10, "launch": 5e-6, "draws": 1e8,
}  # fmt: skip
STATED_CARD = {
    "matmul_float64": 5e13, "matmul_float32": 5e13, "cholesky_float64": 1.5e13,
    "cholesky_float32": 1.5e13, "solve_float64": 1e11, "solve_float32": 1e11,
    "eigvals_float64": 5e10, "bandwidth": 2.5e12, "launch": 5e-6, "draws": 1e8,
}  # fmt: skip
CACHE = 2**21  # where the system does not tell


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The table of one device; where a size is of rows, numbers or bytes its name says so."""

    gram_tile: int  # most rows of a tile of a Gram
    gram_cut: int  # rows below which the price of a call exceeds that of the wasted half
    mirrored_rows: int  # rows that are transposed at once
    rows_tile: int  # rows worked on at a time where no Gram is formed
    stack: int  # numbers of a stack of Grams that goes through the steps together
    kernel_rows: int  # rows of two kernels that are compared at once
    basis_rows: int  # samples at a time where something as wide as a basis is formed
    cholesky_block: int  # order below which a block goes to the library
    cholesky_watched: int  # the same where its residual is computed: the cost grows with it
    cholesky_alone: int  # order up to which one thread is as fast as several
    cholesky_rows: int  # most rows that one thread takes of a panel
    norm_rows: int  # rows whose norm a thread takes
    angle_numbers: int  # numbers of pairs whose angle is found by Lagrange's identity at once
    hermite_rows: int  # scales whose Hermite coefficients are found at once
    pass_numbers: int  # numbers of a block of rows that several operations pass over
    jacobian_bytes: int  # of Jacobian rows held at once where p < N
    normal_columns: int  # of J^T J computed at once, from the diagonal down
    training_bytes: int  # of features and errors in a block of seeds, for each thread of a CPU
    small_product: int  # operations of a product that several threads make no quicker
    dense_below: int  # order below which all eigenvalues take no longer than Lanczos
    mixed: bool  # a float32 factor that steers beats a float64 one


def sizes_of(kind: str, rates: Rates) -> Sizes:
    """The table of a device of ``kind`` ("cpu", or anything else: a card)."""
    cpu = kind == "cpu"
    # A pass over so many numbers takes 20 times what sending it does.  On a CPU that is less than
    # the cache holds, which decides there.
    passed = _power(20.0 * rates.launch * rates.bandwidth / 8.0)
    near = rates.cache / 8.0  # numbers
    # On a CPU a quarter of the cache (192 to 512 measured alike, with 2 MB); on a card an order at
    # which a product takes 40 times what sending it does.
    sent = (40.0 * rates.launch * rates.matmul_float64) ** (1.0 / 3.0)
    block = _clamp(_power(math.sqrt(near / 4.0) if cpu else sent), 128, 4096)
    common: dict[str, Any] = {
        "cholesky_block": block,
        # Half: with 128 instead of 256 the whole takes 1.64 floors instead of 1.73 (N = 3000).
        "cholesky_watched": max(block // 2, 32),
        "cholesky_alone": 2 * block,
        "cholesky_rows": 6 * block,
        "jacobian_bytes": 2**26 if cpu else 8 * passed,
        "normal_columns": 2 * block,
        # Measured at N = 400, widths 22 (0.42 MB a seed), ten seeds, on a core with 2 MB: 96 us a
        # seed and step with blocks of five seeds as with blocks of two, 108 with one, 104 with ten.
        "training_bytes": int(rates.cache),
        # Two threads were 0.8 times as fast at 4e5, 1.03 times at 1.2e6; a core had 6e10 a second.
        "small_product": int(rates.matmul_float64 / 6e4),
        "mixed": mixed_pays(rates, block),
        "dense_below": dense_below(rates, block),
    }
    if cpu:
        # Four tiles' worth of cache: products of smaller ones run below the full rate, and the
        # elementwise passes over larger ones miss it (750 to 1200 measured within 4 %).
        tile = _clamp(128 * round(math.sqrt(4.0 * near) / 128.0), 512, 1536)
        return Sizes(
            gram_tile=tile,
            gram_cut=tile // 4,
            mirrored_rows=64,  # a whole tile's columns miss the cache: twice the time
            rows_tile=2 * tile,  # its product (2048 x 300 doubles) is near the cache, and at rate
            stack=_power(near),  # at N = 64 half of that is as fast, and more no faster
            kernel_rows=tile,
            basis_rows=4 * tile,
            norm_rows=tile // 2,
            angle_numbers=_power(4.0 * near),
            hermite_rows=4096,
            pass_numbers=_power(4.0 * near),
            **common,
        )
    tile = _clamp(_power(math.sqrt(passed)), 1024, 16384)
    return Sizes(
        gram_tile=tile,
        gram_cut=_clamp(block // 2, 64, tile),
        mirrored_rows=tile,
        rows_tile=_clamp(passed // 2048, 4096, 2**17),
        stack=8 * passed,
        kernel_rows=tile,
        basis_rows=_clamp(passed // 2048, 4096, 2**17),
        norm_rows=2**31,  # one call
        angle_numbers=passed,
        hermite_rows=_clamp(passed // 256, 4096, 2**17),
        pass_numbers=passed,
        **common,
    )


STEPS = 60.0  # solves with a factor that Lanczos takes, typically
CALLS = 25.0  # operations of a step of it
GAIN = 0.95  # a way that is no quicker than so is not taken: rates are known no better


def _factor_s(rates: Rates, dtype: str, n: float, block: float) -> float:
    """Seconds of a factorisation by blocks: products, and at the bottom the library's blocks."""
    product, library = getattr(rates, f"matmul_{dtype}"), getattr(rates, f"cholesky_{dtype}")
    return float(n**3 / 3.0 / product + n * min(block, n) ** 2 / 3.0 / library)


def _steps_s(rates: Rates, dtype: str, n: float) -> float:
    """Seconds of Lanczos on the inverse."""
    solve = 2.0 * n**2 / getattr(rates, f"solve_{dtype}")
    return float(STEPS * (solve + CALLS * rates.launch))


def mixed_pays(rates: Rates, block: float, n: float = 3000.0) -> bool:
    """Whether a float32 factor and its solves beat float64's; the proof is float64's either way."""
    single, double = (
        _factor_s(rates, dtype, n, block) + _steps_s(rates, dtype, n)
        for dtype in ("float32", "float64")
    )
    return single < GAIN * double


def dense_below(rates: Rates, block: float) -> int:
    """The order from which Lanczos beats all eigenvalues: a multiple of 100, at most 2000."""
    for n in range(100, 2000, 100):
        lanczos = 2.0 * _factor_s(rates, "float64", n, block) + _steps_s(rates, "float64", n)
        if lanczos < GAIN * n**3 / rates.eigvals_float64:
            return n
    return 2000


def _power(value: float) -> int:
    """The nearest power of 2."""
    return int(2 ** round(math.log2(max(value, 1.0))))


def _clamp(value: int, least: int, most: int) -> int:
    return min(max(value, least), most)


MAY_BE_0 = ("dense_below",)  # sizes of which none is a choice


@dataclass(frozen=True)
class Table:
    """A device's table, what it was made of, and by whom: ``stated``, ``measured``, ``forced``."""

    kind: str
    rates: Rates
    source: str
    sizes: Sizes

    @classmethod
    def of(cls, kind: str, rates: Rates, source: str) -> Table:
        """By ``sizes_of``."""
        return cls(kind, rates, source, sizes_of(kind, rates))

    @functools.cached_property
    def id(self) -> str:
        """A short name of its choices: equal where all are, whatever the rates."""
        told = json.dumps([self.kind, dataclasses.asdict(self.sizes)], sort_keys=True)
        return hashlib.blake2b(told.encode(), digest_size=4).hexdigest()

    def record(self) -> dict[str, Any]:
        """As a launch's record keeps it."""
        return {
            "device": self.kind,
            "source": self.source,
            "rates": dataclasses.asdict(self.rates),
            "sizes": dataclasses.asdict(self.sizes),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Table:
        """The table of a record, of its own sizes; a size that it lacks is today's.

        Raises ValueError for what is no such record: whoever wrote it, a size of 0 has no end.
        """
        if not all(isinstance(record.get(k), Mapping) for k in ("rates", "sizes")):
            raise ValueError(f"expected rates and sizes of a device, got {sorted(record)}")
        for name, value in (*record["rates"].items(), *record["sizes"].items()):
            number = isinstance(value, int | float) and math.isfinite(value)
            if not number or (value <= 0 and value is not False and name not in MAY_BE_0):
                raise ValueError(f"expected {name} to be a number above 0, got {value!r}")
        kind = str(record["device"])
        known = {f.name for f in dataclasses.fields(Rates)}
        rates = Rates(**{**_stated(kind), **{k: v for k, v in record["rates"].items()
                                             if k in known}})  # fmt: skip
        table = cls.of(kind, rates, "forced")
        today = dataclasses.asdict(table.sizes)
        sizes = {k: v for k, v in record["sizes"].items() if k in today}
        return cls(kind, rates, "forced", Sizes(**{**today, **sizes}))


def stated(kind: str) -> Table:
    """The table of a device that was not measured, with this machine's cache if it is its CPU."""
    return _stated_table(kind)


@functools.cache
def _stated_table(kind: str) -> Table:
    return Table.of(kind, Rates(**_stated(kind)), "stated")


def _stated(kind: str) -> dict[str, float]:
    return {**(STATED_CPU if kind == "cpu" else STATED_CARD), "cache": float(cache_bytes())}


@functools.cache
def cache_bytes() -> int:
    """Bytes of a core's own cache (its second level), as the system tells."""
    with suppress(OSError, ValueError, KeyError):
        told = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text().strip()
        return int(told[:-1]) * {"K": 2**10, "M": 2**20}[told[-1]]
    return CACHE
