"""Whoever reads what a command prints goes away: rows, fits and figures come all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from driving import SUPPORT, n_done
from toys import toy

SWEEP = """
experiment: toys:toy
executor: serial
axes: {n: "range(1, 41)"}
fits: [{law: power, x: n, y: y}]
figures: [{kind: curve, x: n, y: y, formats: [png]}]
"""


@pytest.fixture
def sweep(folder):
    (folder / "sweep.yaml").write_text(SWEEP)
    return folder


def start(folder, *words, **streams):
    path = os.pathsep.join([SUPPORT, os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "lawsweep.cli.main", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "LAWSWEEP_RESULTS_DIR": "results"},
        **streams,
    )


def broken_pipe():
    """The writing end of a pipe that nobody reads."""
    reads, writes = os.pipe()
    os.close(reads)
    return writes


def without_figures(folder):
    """To import what draws takes as long as all the rest: where both streams are gone it is."""
    path = folder / "sweep.yaml"
    path.write_text("".join(x for x in path.read_text().splitlines(True) if "figures" not in x))


def assert_all_is_there(folder):
    assert n_done(folder, toy) == 40
    if "figures" in (folder / "sweep.yaml").read_text():
        assert list((folder / "results/sweeps/sweep").rglob("*.png"))


@pytest.mark.parametrize("which", ["stdout", "stderr", "both"])
def test_a_run_goes_on_without_its_reader(sweep, which):
    pipe = broken_pipe()
    names = ("stdout", "stderr") if which == "both" else (which,)
    if which != "both":
        without_figures(sweep)
    streams = {n: pipe if n in names else subprocess.PIPE for n in ("stdout", "stderr")}
    with start(sweep, "run", "sweep.yaml", **streams) as process:
        os.close(pipe)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, (out, err)
    assert_all_is_there(sweep)
    if which == "stderr":
        assert b"40 ok" in out
    if which == "stdout":
        assert err.startswith(b"40/40 done")


def test_head_takes_one_line_and_goes(sweep):
    """As `lawsweep run sweep.yaml 2>&1 | head -1`."""
    without_figures(sweep)
    with start(
        sweep, "run", "sweep.yaml", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout.readline().startswith(b"sweep: 40 runs")
        process.stdout.close()
        assert process.wait(timeout=300) == 0
    assert_all_is_there(sweep)


def test_streams_that_are_closed_from_the_beginning(sweep):
    command = f"'{sys.executable}' -m lawsweep.cli.main run sweep.yaml >&- 2>&-"
    env = {**os.environ, "PYTHONPATH": SUPPORT, "LAWSWEEP_RESULTS_DIR": "results"}
    ended = subprocess.run(["sh", "-c", command], cwd=sweep, env=env, timeout=300, check=False)
    assert ended.returncode == 0
    assert_all_is_there(sweep)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_under_what_is_printed_is_said(sweep):
    without_figures(sweep)
    with (
        Path("/dev/full").open("wb") as full,
        start(sweep, "run", "sweep.yaml", stdout=full, stderr=subprocess.PIPE) as process,
    ):
        _, err = process.communicate(timeout=300)
    assert_all_is_there(sweep)
    assert b"lawsweep: what it had to print could not be written: [Errno 28]" in err
    assert process.returncode == 141


@pytest.mark.parametrize(
    "words",
    [
        ("status", "sweep.yaml"),
        ("status", "sweep.yaml", "--watch"),
        ("plan", "sweep.yaml"),
        ("sql", "select * from range(100000)"),
        ("doctor", "--no-ray"),
    ],
)
def test_what_only_prints_ends_with_its_reader(sweep, words):
    pipe = broken_pipe()
    with start(sweep, *words, stdout=pipe, stderr=subprocess.PIPE) as process:
        os.close(pipe)
        _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (141, b"")
