"""A run that fails leaves what it printed last in its row."""

from __future__ import annotations

import sys

import pytest

from lawsweep import experiment
from lawsweep.core.outcome import RunSpec
from lawsweep.worker.execute import execute_run
from lawsweep.worker.printed import MOST, Tail, heard


@experiment
def talkative(n: int, seed: int) -> dict:
    """Print, and fail above 1."""
    print("looking at", n)
    print("to stderr", file=sys.stderr)
    if n == 2:
        raise ValueError("no")
    if n == 3:
        sys.stdout.write("x" * (3 * MOST))
        print("the end")
        raise MemoryError
    return {"y": 1.0}


def run(n):
    return execute_run(talkative, RunSpec(0, "a" * 32, {"n": n}, 0, 1))


def test_what_a_failed_run_printed_is_in_its_row_and_on_the_terminal(capsys):
    before = sys.stdout, sys.stderr
    failed = run(2)
    assert failed.status == "failed"
    assert failed.traceback.startswith("Traceback")
    assert failed.traceback.endswith("Last printed:\nlooking at 2\nto stderr\n")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("looking at 2\n", "to stderr\n")
    assert (sys.stdout, sys.stderr) == before
    assert run(1).traceback is None


def test_no_more_is_kept_than_a_row_should_carry(capsys):
    oom = run(3)
    assert oom.status == "oom"
    kept = oom.traceback.partition(f"Last printed ({MOST:,} characters):\n")[2]
    assert kept.endswith("xthe end\n")
    assert MOST - 1 <= len(kept) <= MOST
    assert len(capsys.readouterr().out) > 3 * MOST


@pytest.mark.parametrize("pieces", [["a" * 5], ["a"] * 30, ["ab" * 40, "c"], ["", "", "abc"]])
def test_a_tail_is_the_end_of_what_was_written(pieces):
    tail = Tail(20)
    for piece in pieces:
        tail.add(piece)
    whole = "".join(pieces)
    assert tail.text() == whole[-20:]
    assert tail.cut == (len(whole) > 20)


def test_a_run_that_changes_its_streams_keeps_its_change_and_we_ours(capsys):
    import io

    tail, own = Tail(), io.StringIO()
    before = sys.stdout
    with heard(tail):
        print("heard")
        assert sys.stdout.isatty() == before.isatty()
        sys.stdout.writelines(["a", "b"])
        sys.stdout, kept = own, sys.stdout
        print("not heard")
    assert sys.stdout is own
    sys.stdout = before
    assert tail.text() == "heard\nab"
    assert kept is not before
