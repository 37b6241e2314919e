"""Everything there is to know of a first GPU, in one command of at most 9 minutes.

    PYTHONPATH=src python benchmarks/gpu.py            # cuda:0; torch and numpy are enough
    PYTHONPATH=src python benchmarks/gpu.py --small    # a minute; also on --device cpu

Writes ``results/gpu.json`` after every part, so that what a limit cuts off costs only itself, and
``results/gpu.md``.  A part that fails says so in its place, and the next one goes on.  Parts:

- rates: matrix products, Cholesky, triangular solves, eigh, launches, waits, copies, draws;
- agreement: every experiment on the CPU and on the device, the same seed, column by column;
- the calibration that sizes and ways go by, and what it decides;
- gram tiles, and factors by blocks of several orders against the library's;
- fused training against processes on all cores; compression's grid of 288 runs, fused;
- lambda_min by Cholesky from N = 3,000 to 60,000: seconds over the floor, bound, memory over its
  model, the share of the draws;
- what each solver sends and how often it waits for the device;
- lambda_min without K towards N = 10^6, d = 1500, as far as the time goes.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import os
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import environment, rounded, show

from lawsweep import stream
from lawsweep.core.registry import find_experiment
from lawsweep.experiments.memorization.held import run_bytes
from lawsweep.kernels.activations import activation
from lawsweep.kernels.base import calibration, devices, precision
from lawsweep.kernels.base import rates as rates_of
from lawsweep.kernels.base.replay import without_graphs
from lawsweep.kernels.data import sampling
from lawsweep.kernels.eigmin import solvers
from lawsweep.kernels.eigmin.block import smallest_eigenvalue_block
from lawsweep.kernels.linalg import cholesky
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk import gram as ntk
from lawsweep.kernels.ntk.linearisation import linearise
from lawsweep.kernels.ntk.row_shard import GivenRows, NtkShards

DEPTH, LAYERS = 3, (1, 2, 3)
Row = dict[str, Any]


class Bench:
    """The device, the sizes, the time that is left."""

    def __init__(self, device: str, small: bool, seconds: float) -> None:
        self.device, self.small = torch.device(device), small
        self.deadline = time.monotonic() + seconds
        self.rates: dict[str, float] = {}

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self.deadline - time.monotonic()

    @property
    def is_real(self) -> bool:
        """Whether torch has a CUDA card of its own."""
        return self.device.type == "cuda" and torch.cuda.is_available()

    def wait(self) -> None:
        """Until the device has done all it was sent."""
        if self.is_real:
            torch.cuda.synchronize(self.device)

    def seconds(self, function: Callable[[], Any], repeats: int = 3) -> float:
        """Median wall seconds, after one that warms up."""
        function()
        times = []
        for _ in range(repeats):
            self.wait()
            start = time.perf_counter()
            function()
            self.wait()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def once(self, function: Callable[[], Any]) -> tuple[Any, float, float | None]:
        """(answer, wall seconds, GiB at the peak) of one call."""
        if self.is_real:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        self.wait()
        start = time.perf_counter()
        found = function()
        self.wait()
        seconds = time.perf_counter() - start
        peak = torch.cuda.max_memory_allocated(self.device) / 2**30 if self.is_real else None
        return found, seconds, peak

    def normal(self, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """Random numbers there."""
        return torch.randn(*shape, dtype=dtype).to(self.device)


def run(name: str, device: str, seed: int = 3, **params: Any) -> Any:
    """An experiment's metrics."""
    experiment = find_experiment(name)
    got = experiment.function(experiment.params_type(**params), seed, device)
    return got[0] if isinstance(got, tuple) else got


# -- rates


def rates(b: Bench) -> Iterator[Row]:
    """Operations a second, launches and copies: what plans and crossovers are made of."""
    sizes = (64, 256) if b.small else (256, 1024, 4096, 8192)
    for dtype, n in itertools.product((torch.float64, torch.float32), sizes):
        a, name = b.normal(n, n, dtype=dtype), str(dtype).removeprefix("torch.")
        spd = a @ a.mT + n * torch.eye(n, dtype=dtype, device=b.device)
        factor, right = torch.linalg.cholesky_ex(spd)[0], a[:, :64].contiguous()
        out = torch.empty_like(a)
        product = 2.0 * n**3 / b.seconds(lambda a=a, out=out: torch.mm(a, a, out=out))
        b.rates[name] = max(b.rates.get(name, 0.0), product)
        yield {
            "what": name,
            "n": n,
            "product_gflops": product / 1e9,
            "cholesky_gflops": n**3
            / 3e9
            / b.seconds(lambda spd=spd: torch.linalg.cholesky_ex(spd)[0]),
            "triangular_64_gflops": 64.0
            * n**2
            / 1e9
            / b.seconds(lambda f=factor, r=right: torch.linalg.solve_triangular(f, r, upper=False)),
            "eigh_ms": None
            if n > 4096
            else 1e3 * b.seconds(lambda spd=spd: torch.linalg.eigh(spd), 1),
        }


def latencies(b: Bench) -> Iterator[Row]:
    """Launches, waits, copies and draws."""
    x, n = b.normal(16), 20 if b.small else 2000

    def launches() -> None:
        for _ in range(n):
            x.add_(1e-9)

    def waits() -> None:
        for _ in range(n):
            x[0].item()

    megabytes = 2 if b.small else 256
    host = torch.randn(megabytes * 2**17, dtype=torch.float64)
    there = host.to(b.device)
    generator = np.random.default_rng(0)
    yield {
        "launches_a_s": n / b.seconds(launches),
        "waits_a_s": n / b.seconds(waits),
        "to_device_gb_s": host.nbytes / 1e9 / b.seconds(lambda: host.to(b.device)),
        "to_host_gb_s": host.nbytes / 1e9 / b.seconds(there.cpu),
        "elementwise_gb_s": 2 * host.nbytes / 1e9 / b.seconds(lambda: there.mul_(1.0)),
        "normal_draws_a_s": len(host) / b.seconds(lambda: generator.standard_normal(len(host)), 1),
    }


def calibrated(b: Bench) -> Iterator[Row]:
    """The second's measurement that sizes and ways go by, and what it decides; the CPU's beside."""
    for device in (b.device, torch.device("cpu")):
        found, s, _ = b.once(lambda d=device: calibration.measure(d, 0.1 if b.small else 1.0))
        yield {
            "device": str(device),
            "seconds": s,
            **dataclasses.asdict(found),
            **dataclasses.asdict(rates_of.sizes_of(device.type, found)),
        }


def factors(b: Bench) -> Iterator[Row]:
    """A float64 factor by blocks of several orders, watched and not, against the library's."""
    for n in (300,) if b.small else (2000, 6000, 16000):
        a = b.normal(n, n)
        spd, work = a @ a.mT / n, torch.empty_like(a)
        spd.diagonal().add_(1.0)
        floor = n**3 / 3.0 / b.rates["float64"]

        def whole(block: int, watched: bool, spd: Any = spd, work: Any = work) -> None:
            work.copy_(spd)
            cholesky.factorise(work, block, residual=cholesky.Residual() if watched else None)

        sizes = devices.on(b.device, n**3 / 3.0)
        for block in (64, 128) if b.small else (128, 256, 512, 1024, 2048, 4096):
            if block >= n:
                continue
            yield {
                "N": n,
                "block": block,
                "in_table": block == sizes.cholesky_block,
                "watched_in_table": block == sizes.cholesky_watched,
                "over_floor": b.seconds(lambda block=block: whole(block, False)) / floor,
                "watched_over_floor": b.seconds(lambda block=block: whole(block, True)) / floor,
                "library_over_floor": b.seconds(lambda spd=spd: torch.linalg.cholesky_ex(spd))
                / floor,
            }


# -- agreement

NTK = {"n_samples": 200, "input_dim": 40, "width": 40, "depth": 3, "activation": "sigmoid"}
TRAINED = {"n_samples": 100, "input_dim": 22, "width": 22, "depth": 3, "max_steps": 60}
STUDENT = {"n_target": 60, "input_dim": 10, "n_compressed": 3}
CASES: tuple[tuple[str, Row], ...] = (
    *(("ntk_min_eig", {**NTK, "solver": s}) for s in ("auto", *solvers.names())),
    ("ntk_min_eig", {**NTK, "n_samples": 1200, "activation": "tanh"}),
    ("ntk_min_eig", {**NTK, "bias": True, "activation": "relu", "parameterisation": "ntk"}),
    ("ntk_min_eig", {**NTK, "kernel": "conjugate", "n_samples": 20}),
    ("ntk_min_eig", {**NTK, "n_lowest": 3, "full_spectrum": True, "infinite_width_up_to": 200}),
    *(("memorization", {**TRAINED, "optimizer": o}) for o in ("adam", "gd", "levenberg_marquardt")),
    ("memorization", {**TRAINED, "targets": "classes", "n_classes": 3, "loss": "logistic"}),
    *(("compression", {**STUDENT, "solver": s}) for s in ("newton", "newton_cg", "lbfgs")),
    ("compression", {**STUDENT, "student_outputs": "trained", "activation": "erf"}),
    ("compression", {**STUDENT, "target_norm_method": "sample"}),
    ("ntk_memorization", {"n_samples": 40, "input_dim": 12, "width": 60, "depth": 3}),
)

SMALL = {"n_samples": 40, "input_dim": 12, "width": 12, "max_steps": 10, "n_target": 20}


def agreement(b: Bench) -> Iterator[Row]:
    """Each column on the device against the CPU's: the largest relative difference and where."""
    for name, given in CASES if not b.small else CASES[::6]:
        if b.left < 240 and not b.small:
            return
        point = {k: SMALL.get(k, v) for k, v in given.items()} if b.small else given
        here, on_cpu, _ = b.once(lambda n=name, p=point: run(n, "cpu", **p))
        there, on_device, _ = b.once(lambda n=name, p=point: run(n, str(b.device), **p))
        worst, column, other = 0.0, "", []
        for f in dataclasses.fields(here):
            one, two = getattr(here, f.name), getattr(there, f.name)
            if isinstance(one, float | np.ndarray) and np.asarray(one).dtype.kind == "f":
                found = _difference(np.asarray(one), np.asarray(two, dtype=np.float64))
                if found > worst:
                    worst, column = found, f.name
            elif not np.array_equal(np.asarray(one), np.asarray(two)):
                other.append(f"{f.name}: {one} / {two}")
        yield {
            "experiment": name,
            "point": ", ".join(f"{k}={v}" for k, v in point.items()),
            "largest_difference": worst,
            "in": column,
            "other_columns_that_differ": "; ".join(other),
            "cpu_s": on_cpu,
            "device_s": on_device,
        }


def _difference(one: np.ndarray, two: np.ndarray) -> float:
    if one.shape != two.shape or not (np.isnan(one) == np.isnan(two)).all():
        return math.inf
    same = (one == two) | np.isnan(one)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.abs(one - two) / np.maximum(np.abs(one), np.abs(two))
    return float(np.where(same, 0.0, relative).max(initial=0.0))


# -- kernels


def problem(b: Bench, n: int, d: int) -> tuple[Network, list[torch.Tensor], torch.Tensor]:
    """Network of width d, weights and inputs (N, d) of the experiment at seed 0, on the device."""
    weights = init_weights(Network.equal(d, d, DEPTH, "linear"), stream(0, "weights"))
    x = sampling.rows("gaussian", stream(0, "data"), n, d)
    return (
        Network.of(weights, activation("sigmoid")),
        [w.to(b.device) for w in weights],
        x.to(b.device),
    )


def gram_floor(n: int, d: int) -> float:
    """Operations of the Gram matrix's lower half."""
    widths = Network.equal(d, d, DEPTH, "linear").widths
    return float(n * n * sum(a + c for a, c in itertools.pairwise(widths)))


def tiles(b: Bench) -> Iterator[Row]:
    """Seconds of the Gram by tile; the one in the table beside them."""
    sizes = ((300, 40),) if b.small else ((3000, 324), (3000, 977), (12000, 324))
    for n, d in sizes:
        lin = linearise(*problem(b, n, d))
        for tile in (n // 4, n // 2, n) if b.small else (512, 1024, 2048, 4096, 8192, 16384):
            if tile > 2 * n:
                continue
            s = b.seconds(lambda lin=lin, tile=tile: ntk.gram(lin, tile=tile))
            yield {
                "N": n,
                "d": d,
                "tile": tile,
                "in_table": tile == devices.on(b.device, gram_floor(n, d)).gram_tile,
                "ms": 1e3 * s,
                "over_floor": s * b.rates["float64"] / gram_floor(n, d),
            }


def training(b: Bench) -> Iterator[Row]:
    """64 seeds of a shape at once, as CUDA graphs and without; the same on every core here."""
    shapes = ((40, 12),) if b.small else ((400, 22), (1600, 54))
    seeds = range(2 if b.small else 64)
    for n, d in shapes:
        point = {
            "n_samples": n,
            "input_dim": d,
            "width": d,
            "depth": 3,
            "stop_rule": "none",
            "max_steps": 20 if b.small else 500,
        }
        with without_graphs():
            _, called, _ = b.once(lambda p=point: _fused("memorization", p, seeds, str(b.device)))
        _, fused, peak = b.once(lambda p=point: _fused("memorization", p, seeds, str(b.device)))
        held = len(seeds) * float(run_bytes(find_experiment("memorization").params_type(**point)))
        cores = len(os.sched_getaffinity(0))
        on_cores = None if b.small else _on_cores("memorization", point, len(seeds), cores)
        yield {
            "N": n,
            "d": d,
            "seeds": len(seeds),
            "steps": point["max_steps"],
            "device_runs_a_s": len(seeds) / fused,
            "microseconds_a_step": 1e6 * fused / point["max_steps"],
            "without_graphs_runs_a_s": len(seeds) / called,
            "without_graphs_microseconds_a_step": 1e6 * called / point["max_steps"],
            "peak_gib": peak,
            "peak_over_model": None if peak is None else peak * 2**30 / held,
            "cores": cores,
            "cores_runs_a_s": on_cores,
        }


def _fused(name: str, point: Row, seeds: Sequence[int], device: str) -> list[Any]:
    experiment = find_experiment(name)
    params = experiment.params_type(**point)
    assert experiment.fused is not None
    found = list(experiment.fused([params] * len(seeds), list(seeds), device))
    for outcome in found:
        if isinstance(outcome, BaseException):
            raise outcome
    return found


def _one_thread() -> None:
    torch.set_num_threads(1)


def _on_cores(name: str, point: Row, n_seeds: int, cores: int) -> float:
    """Runs a second of a process on each core, each with its share of the seeds."""
    parts = [range(k, n_seeds, cores) for k in range(min(cores, n_seeds))]
    with ProcessPoolExecutor(
        len(parts), mp_context=get_context("spawn"), initializer=_one_thread
    ) as pool:
        small = {**point, "max_steps": 2}
        list(pool.map(_fused, *zip(*((name, small, p, "cpu") for p in parts), strict=True)))
        start = time.perf_counter()
        list(pool.map(_fused, *zip(*((name, point, p, "cpu") for p in parts), strict=True)))
        return n_seeds / (time.perf_counter() - start)


def compression(b: Bench) -> Iterator[Row]:
    """The grid of ``compression_gap preset=paper``: 288 runs, the six seeds of a shape at once."""
    dims, ratios, students = ((10, 20, 40, 80), (1, 0.3, 0.1, 0.03, 0.01, 0.004), (3, 5))
    if b.small:
        dims, ratios, students = (5,), (1,), (3,)
    total, n_runs, late, slowest = 0.0, 0, 0, ("", 0.0)
    for d, ratio, m in itertools.product(dims, ratios, students):
        if b.left < 150 and not b.small:
            late += 1
            continue
        point = {
            "input_dim": d,
            "n_target": round(d / ratio),
            "n_compressed": m,
            "target_norm_method": "skip",
            "prediction": "reduced",
        }
        found, s, _ = b.once(
            lambda p=point: _fused("compression", p, range(2 if b.small else 6), str(b.device))
        )
        total, n_runs = total + s, n_runs + len(found)
        slowest = max(slowest, (f"d={d} N={point['n_target']} M={m}", s), key=lambda p: p[1])
    yield {
        "runs": n_runs,
        "seconds": total,
        "shapes_left_out": late,
        "slowest_shape": slowest[0],
        "its_seconds": slowest[1],
    }


def certified(b: Bench) -> Iterator[Row]:
    """lambda_min with its bound by Cholesky; floor: the Gram's and one factor's operations."""
    sizes = ((120, 30),) if b.small else ((3000, 977), (6000, 300), (12000, 324), (24000, 324))
    for n, d in (*sizes, *(() if b.small else ((60000, 324),))):
        if b.left < 100 and not b.small:
            return
        draws = time.perf_counter()
        problem(b, n, d)
        draws = time.perf_counter() - draws
        point = {"n_samples": n, "input_dim": d, "width": d, "depth": DEPTH}
        point |= {"activation": "sigmoid", "solver": "cholesky_lanczos"}
        m, s, peak = b.once(lambda p=point: run("ntk_min_eig", str(b.device), **p))
        floor = (gram_floor(n, d) + n**3 / 3.0) / b.rates["float64"]
        yield {
            "N": n,
            "d": d,
            "seconds": s,
            "floor_s": floor,
            "over_floor": s / floor,
            "draws_s": draws,
            "lambda_min": m.lambda_min,
            "residual": m.residual,
            "certified": m.certified,
            "peak_gib": peak,
            "model_gib": solvers.matrix_bytes(n) / 2**30,
        }


# -- what is sent, and how often the host waits


def traffic(b: Bench) -> Iterator[Row]:
    """Launches, copies to the host and waits a run, by torch's profiler."""
    for name, point in CASES:
        if not b.is_real or b.left < 120:
            return
        run(name, str(b.device), **point)
        with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        ) as profile:
            m = run(name, str(b.device), **point)
            b.wait()
        counts = {e.key: e.count for e in profile.key_averages()}
        yield {
            "experiment": name,
            "point": ", ".join(f"{k}={v}" for k, v in point.items()),
            "iterations": getattr(m, "n_iterations", getattr(m, "n_steps", None)),
            "launches": sum(n for k, n in counts.items() if "LaunchKernel" in k),
            "copies": sum(n for k, n in counts.items() if k.startswith("Memcpy")),
            "to_host": sum(n for k, n in counts.items() if k.startswith("Memcpy DtoH")),
            "waits": sum(n for k, n in counts.items() if "Synchronize" in k),
        }


# -- without K


def matrix_free(b: Bench) -> Iterator[Row]:
    """lambda_min where K is never formed, towards N = 10^6 at d = 1500, stopped by the clock."""
    sizes = ((60, 24),) if b.small else ((50_000, 300), (200_000, 700), (1_000_000, 1500))
    for n, d in sizes:
        if b.left < 40 and not b.small:
            return
        network, weights, x = problem(b, n, d)
        arrays = [w.cpu().double().numpy() for w in weights]
        make = NtkShards(n, GivenRows(x), network, arrays, device=str(b.device))
        shards = make.in_process()
        flops = 4.0 * n * sum(w.numel() for w in weights)

        def solve(most: int, shards: Any = shards) -> Any:
            return smallest_eigenvalue_block(
                shards, key=1, layers=LAYERS, tol=1e-2, max_basis=100, max_matvecs=most
            )

        _, s, _ = b.once(lambda: solve(20))
        most = 5000 if b.small else int(max(20, (b.left - 20) / 2 / (s / 40)))
        found, s, peak = b.once(lambda most=most: solve(most))
        rate = flops * found.n_matvecs / s
        yield {
            "N": n,
            "d": d,
            "products": found.n_matvecs,
            "seconds": s,
            "of_product_rate": rate / b.rates["float64"],
            "lambda_min": found.value,
            "relative_residual": found.residual / found.value,
            "ended": found.reason.value,
            "peak_gib": peak,
        }
        del shards, make, x, weights


PARTS: tuple[Callable[[Bench], Iterator[Row]], ...] = (
    rates,
    latencies,
    calibrated,
    agreement,
    tiles,
    factors,
    training,
    compression,
    certified,
    traffic,
    matrix_free,
)


def card(b: Bench) -> Row:
    """The device and torch's settings for it."""
    facts: Row = {"device": str(b.device), "tf32": torch.backends.cuda.matmul.allow_tf32}
    for dtype in (torch.float64, torch.float32):
        try:
            with precision.full_precision():
                precision.prove_products(b.device, dtype)
            facts[f"products_{dtype}".replace("torch.", "")] = "exact"
        except precision.PrecisionError as lesser:
            facts[f"products_{dtype}".replace("torch.", "")] = str(lesser)
    if b.is_real:
        p = torch.cuda.get_device_properties(b.device)
        facts |= {
            "name": p.name,
            "memory_gib": p.total_memory / 2**30,
            "processors": p.multi_processor_count,
            "capability": f"{p.major}.{p.minor}",
            "cuda": torch.version.cuda,
        }
    return facts


def main(words: Sequence[str] | None = None) -> Path:
    """Measure; the path of the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--small", action="store_true", help="sizes of a minute: does it all run?")
    parser.add_argument("--seconds", type=float, default=520.0, help="ends by then (520)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--parts", nargs="*", choices=[p.__name__ for p in PARTS])
    given = parser.parse_args(words)
    b = Bench(given.device, given.small, given.seconds)
    name = "gpu" if not given.small else "gpu_small"
    found: Row = {"environment": environment() | card(b), "small": given.small, "figures": {}}
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"{name}.json"
    for part in PARTS:
        if given.parts and part.__name__ not in given.parts and part is not rates:
            continue
        start, rows, error = time.monotonic(), [], None
        try:
            with torch.no_grad():
                rows.extend(part(b)) if b.left > 5 else None
        except Exception as failure:  # noqa: BLE001 - costs its own part only
            traceback.print_exc()
            error = f"{type(failure).__name__}: {failure}"
        if rows:
            show(part.__name__, rows)
        found["figures"][part.__name__] = rows
        found.setdefault("seconds", {})[part.__name__] = time.monotonic() - start
        if error is not None:
            found.setdefault("failed", {})[part.__name__] = error
        path.write_text(json.dumps(rounded(found), indent=1) + "\n", encoding="utf-8")
        path.with_suffix(".md").write_text(markdown(found), encoding="utf-8")
    return path


def markdown(found: Row) -> str:
    """The figures as tables."""
    where = ", ".join(f"{k} {v}" for k, v in rounded(found["environment"]).items())
    lines = ["# The GPU's figures", "", where, ""]
    for part, rows in rounded(found["figures"]).items():
        lines += [f"## {part} ({found['seconds'][part]:.0f} s)", ""]
        if part in found.get("failed", {}):
            lines += [f"Failed: {found['failed'][part]}", ""]
        if not rows:
            continue
        names = list(rows[0])
        lines += [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
        for row in rows:
            cells = ["" if row[k] is None else str(row[k]).replace("|", "/") for k in names]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
