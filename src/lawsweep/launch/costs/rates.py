"""How fast a device does each kind of work: stated for usual cards, or measured.

Stated rates are a vendor's published peak times the share of it that large problems sustain, which
is known within a factor only (``_SUSTAINED``, with its standard deviation of the logarithm).  No
rate of this table was measured here; a file of ``benchmarks/gpu.py``, or of a calibration, replaces
them.  Peaks in float64 and float32 (no TF32; float64 by tensor cores where the library uses them)
and memory are as NVIDIA states them, and were not looked up again for this table: A100, H100 SXM,
H200, B200, V100 SXM2, P100, L4, L40S,
T4, A10, and GeForce and RTX cards by the white papers of Ampere and Ada.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lawsweep.core.cost import WORK
from lawsweep.core.errors import InvalidValueError, UnknownNameError, unknown_name

# Peak float64 and float32 flops a second, bytes a second, GiB.
_PEAKS = {
    "B200": (37e12, 75e12, 8.0e12, 180.0),
    "H200": (67e12, 67e12, 4.8e12, 141.0),
    "H100": (67e12, 67e12, 3.35e12, 80.0),
    "A100": (19.5e12, 19.5e12, 2.0e12, 80.0),
    "A100-40GB": (19.5e12, 19.5e12, 1.55e12, 40.0),
    "V100": (7.8e12, 15.7e12, 0.9e12, 32.0),
    "P100": (5.3e12, 10.6e12, 0.73e12, 16.0),
    "L40S": (1.43e12, 91.6e12, 0.864e12, 48.0),
    "L4": (0.47e12, 30.3e12, 0.3e12, 24.0),
    "A10": (0.49e12, 31.2e12, 0.6e12, 24.0),
    "T4": (0.25e12, 8.1e12, 0.32e12, 16.0),
    "RTX4090": (1.29e12, 82.6e12, 1.008e12, 24.0),
    "RTX3090": (0.56e12, 35.6e12, 0.936e12, 24.0),
    "RTX6000ADA": (1.42e12, 91.1e12, 0.96e12, 48.0),
}
# Share of the peak, and the standard deviation of its logarithm: products near theirs; a Cholesky
# factor waits for its panels; the solves of one vector are two passes over the factor, row by row.
_PRODUCTS, _FACTORS, _PASSES = (0.75, 0.2), (0.25, 0.5), (0.8, 0.15)
SOLVE_SHARE, SOLVE_SD = 0.2, 0.8  # of the bandwidth
LAUNCH_S, LAUNCH_SD = 6e-6, 0.4
DRAWS, DRAWS_SD = 1e8, 0.3  # normals a second of a host's core
MEASURED_SD = 0.1
CORE_SD = 0.3  # of what a core is said to do, from its rate of products
# A core's rates over that of its float64 products; a solve is bound by memory.
_CORE = {
    "matmul_float64": 1.0, "matmul_float32": 2.0, "cholesky_float64": 0.7, "cholesky_float32": 1.3,
    "solve_float64": 0.05, "solve_float32": 0.1, "bandwidth": 0.2, "draws": 0.002,
}  # fmt: skip
CORE_LAUNCH_S = 5e-6
# What is known of counts themselves: iterations, stop rules.
COUNTS_SD = 0.4
PLAIN_SD = 1.0  # where all flops are taken for products
GIB = 2.0**30


@dataclass(frozen=True)
class Device:
    """A kind of device: work a second by kind (of ``launch`` seconds an operation), and doubts.

    ``doubts``: standard deviations of the logarithms.  ``memory_bytes``: None where not known.
    """

    name: str
    rates: Mapping[str, float]
    doubts: Mapping[str, float]
    memory_bytes: float | None
    measured: bool = False

    def seconds(self, work: Mapping[str, Any]) -> dict[str, Any]:
        """Seconds of each kind of work; floats or arrays, as given."""
        return {
            kind: n * self.rates[kind] if kind == "launch" else n / self.rates[kind]
            for kind, n in work.items()
        }


def core(flops_per_s: float) -> Device:
    """A core of a CPU, from its rate of float64 products."""
    rates = {kind: share * flops_per_s for kind, share in _CORE.items()}
    doubts = dict.fromkeys(WORK, CORE_SD) | {"matmul_float64": MEASURED_SD}
    return Device("CPU", {**rates, "launch": CORE_LAUNCH_S}, doubts, None)


def card(name: str, given: Mapping[str, Device] | None = None) -> Device:
    """A card by its name, in any spelling; ``given``: rates of one's own, which come first.

    Raises UnknownNameError with the nearest name, and how rates are given.
    """
    for device in (given or {}).values():
        if named(device.name) == named(name):
            return device
    known = {named(n): n for n in _PEAKS}
    if named(name) not in known:
        said = unknown_name("GPU model", name, [*_PEAKS, *(given or {})], "--on")
        raise UnknownNameError(
            f"{said} Rates of another card are given by --rates FILE: what benchmarks/gpu.py wrote "
            'there, or {"name": {"matmul_float64": 5e13, ...}}.'
        )
    model = known[named(name)]
    double, single, bandwidth, gib = _PEAKS[model]
    rates, doubts = {}, {}
    for kind, peak in (("float64", double), ("float32", single)):
        for what, (share, sd) in (("matmul", _PRODUCTS), ("cholesky", _FACTORS)):
            rates[f"{what}_{kind}"], doubts[f"{what}_{kind}"] = share * peak, sd
        # Two flops for each number of the factor that is read.
        size = 8.0 if kind == "float64" else 4.0
        rates[f"solve_{kind}"] = SOLVE_SHARE * bandwidth * 2.0 / size
        doubts[f"solve_{kind}"] = SOLVE_SD
    rates |= {"bandwidth": _PASSES[0] * bandwidth, "launch": LAUNCH_S, "draws": DRAWS}
    doubts |= {"bandwidth": _PASSES[1], "launch": LAUNCH_SD, "draws": DRAWS_SD}
    return Device(model, rates, doubts, gib * GIB)


def named(name: str) -> str:
    """A card's name as it is compared: ``NVIDIA H100 80GB HBM3`` is ``h100``."""
    plain = re.sub(r"nvidia|geforce|tesla|quadro|generation|[-_ ]", " ", name.lower())
    text = plain.replace(" ", "")
    known = sorted((re.sub(r"[-_ ]", "", n.lower()) for n in _PEAKS), key=len, reverse=True)
    if text in known:
        return text
    small = "a100" in text and "40gb" in text
    words = plain.split()
    found = [n for n in known if n in words or (len(n) > 5 and n in text)]
    return "a10040gb" if small else found[0] if found else text


def read_rates(path: str | Path) -> dict[str, Device]:
    """Measured rates by card: of ``benchmarks/gpu.py``, of a calibration, or written by hand.

    By hand: ``{"H100": {"matmul_float64": 5e13, "memory_gib": 80}}``; what a card's rates leave out
    is as stated for it, or else follows from its products.  Raises InvalidValueError with one
    sentence for anything else.
    """
    path = Path(path)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidValueError(
            f"--rates takes a JSON file of rates; {path} is none ({reason}). benchmarks/gpu.py "
            "writes one."
        ) from None
    found = _tables(told) if isinstance(told, Mapping) else {}
    if not found:
        raise InvalidValueError(
            f'{path} has no rates: expected what benchmarks/gpu.py writes, or {{"H100": '
            '{"matmul_float64": 5e13, ...}}.'
        )
    return {name: _device(name, rates, path) for name, rates in found.items()}


def _tables(told: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Rates by card; of a card that none are told of there is no table."""
    figures, where = told.get("figures"), told.get("environment")
    if isinstance(figures, Mapping) and isinstance(where, Mapping):
        name, memory = str(where.get("name") or "CPU"), where.get("memory_gib")
        rows = [r for r in figures.get("calibrated") or () if isinstance(r, Mapping)]
        rows = [r for r in rows if str(r.get("device", "")).startswith("cuda") or len(rows) == 1]
        rates = dict(rows[0]) if rows else _from_sizes(figures)
        kept = {k: v for k, v in rates.items() if k in WORK}
        return {name: kept | ({} if memory is None else {"memory_gib": memory})} if kept else {}
    if isinstance(told.get("rates"), Mapping):
        facts = told.get("device")
        known = facts if isinstance(facts, Mapping) else {}
        name = str(known.get("name") or "CPU") if known.get("kind") != "cpu" else "CPU"
        kept, memory = {k: v for k, v in told["rates"].items() if k in WORK}, known.get("memory")
        if isinstance(memory, int | float) and memory:
            memory /= GIB
        return {name: kept | ({"memory_gib": memory} if memory else {})} if kept else {}
    return {str(k): v for k, v in told.items() if isinstance(v, Mapping) and v}


def _from_sizes(figures: Mapping[str, Any]) -> dict[str, float]:
    """Of a file without a calibration: its fastest products and factors, and its latencies."""
    found: dict[str, float] = {}
    for row in figures.get("rates") or ():
        for what, column in (("matmul", "product_gflops"), ("cholesky", "cholesky_gflops")):
            kind = f"{what}_{row.get('what')}"
            found[kind] = max(found.get(kind, 0.0), 1e9 * float(row.get(column) or 0.0))
    for row in figures.get("latencies") or ():
        if row.get("launches_a_s"):
            found["launch"] = 1.0 / float(row["launches_a_s"])
        found["bandwidth"] = 1e9 * float(row.get("elementwise_gb_s") or 0.0)
        found["draws"] = float(row.get("normal_draws_a_s") or 0.0)
    return {k: v for k, v in found.items() if v > 0}


def _device(name: str, told: Mapping[str, Any], path: Path) -> Device:
    for key, value in told.items():
        if key not in WORK and key != "memory_gib":
            raise unknown_name("rate", key, [*WORK, "memory_gib"], str(path))
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value < math.inf:
            raise InvalidValueError(
                f"{path}: {key} of {name} must be a number above 0, got {value!r}."
            )
    try:
        base = card(name)
    except UnknownNameError:
        base = core(float(told.get("matmul_float64", 1e12)))
        base = Device(name, base.rates, dict.fromkeys(WORK, SOLVE_SD), None)
    rates = {k: float(v) for k, v in told.items() if k in WORK}
    doubts = {**base.doubts, **dict.fromkeys(rates, MEASURED_SD)}
    memory = told.get("memory_gib")
    size = base.memory_bytes if memory is None else float(memory) * GIB
    return Device(name, {**base.rates, **rates}, doubts, size, measured=bool(rates))
