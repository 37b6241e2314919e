"""Looks again and again, and what fits on a terminal."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import sys
from types import SimpleNamespace

import pytest

from lawsweep.cli import text
from lawsweep.cli.main import run_command
from lawsweep.cli.verbs.running import status as module


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def between(monkeypatch):
    """What happens between two looks, one call after the other; then Ctrl-C."""

    def happens(*calls):
        left = iter(calls)

        def sleep(seconds):
            assert seconds == 2.0
            call = next(left, None)
            if call is None:
                raise KeyboardInterrupt
            call()

        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=sleep))

    return happens


def run(*words):
    # What it prints is of another terminal.
    stream, sys.stdout = sys.stdout, io.StringIO()
    try:
        assert run_command(["run", *words, "--no-analysis"]) == 0
    finally:
        sys.stdout = stream


def nothing():
    pass


def test_a_log_has_a_line_a_change_and_all_at_the_end(lawsweep, toy_sweep, between, capsys):
    half = lambda: run("toys", "params.n=10,20")  # noqa: E731
    between(nothing, half, nothing, nothing, lambda: run("toys"))
    code, out, _ = lawsweep("status", "toys", "--watch")
    lines = out.splitlines()
    assert code == 0
    assert [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in lines[:2]] == [
        "8 planned: 0 ok, 8 missing",
        "8 planned: 4 ok, 4 missing",
    ]
    assert lines[2] == "8 planned: 8 ok"
    assert all(line.startswith("also: ") for line in lines[3:])


@pytest.mark.parametrize("on_terminal", [False, True])
def test_ctrl_c_ends_a_watch_quietly(lawsweep, toy_sweep, between, monkeypatch, on_terminal):
    between(nothing)
    if on_terminal:
        monkeypatch.setattr(sys, "stdout", Terminal())
    code, out, err = lawsweep("status", "toys", "--watch")
    assert (code, err) == (0, "")
    if not on_terminal:
        assert out.count("\n") == 1


LIVE = ({"launch_id": "a", "host": "h", "planned": 8, "finished": 3},)


@pytest.fixture
def looks(monkeypatch):
    """Which launches each look finds."""

    def see(*each):
        left, look = iter(each), module._look

        def found(*given, **named):
            answer = look(*given, **named)
            answer.status = dataclasses.replace(answer.status, launches=next(left))
            return answer

        monkeypatch.setattr(module, "_look", found)

    return see


def test_a_watch_goes_on_while_a_launch_makes_rows_again(lawsweep, toy_sweep, between, looks):
    run("toys")
    looks(LIVE, LIVE, ())
    between(nothing, nothing)
    code, out, _ = lawsweep("status", "toys", "--watch", "--json")
    assert (code, [json.loads(x)["missing"] for x in out.splitlines()]) == (0, [0, 0, 0])


def test_a_watch_ends_with_the_launch_it_saw(lawsweep, toy_sweep, between, looks):
    looks((), LIVE, ())
    between(nothing, nothing)
    code, out, _ = lawsweep("status", "toys", "--watch")
    lines = out.splitlines()
    assert code == 0
    assert lines[1].endswith("8 planned: 0 ok, 8 missing; running on h: 3/8 done, 0/s")
    assert lines[2:] == ["8 planned: 0 ok, 8 missing", "  8 missing: lawsweep run toys"]


def test_a_terminal_is_redrawn_in_place(toy_sweep, between, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    shown = Terminal()
    monkeypatch.setattr(sys, "stdout", shown)
    between(nothing, lambda: run("toys"))
    assert run_command(["status", "toys", "--watch"]) == 0
    first, _, rest = shown.getvalue().partition("every 2 s; Ctrl-C ends the watch")
    assert "8 planned: 0 ok, 8 missing" in first
    assert re.search(r"\x1b\[1A\x1b\[2K", rest)  # up, over what stood there
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", rest.rpartition("\x1b[2K")[2])
    assert "8 planned: 8 ok" in last
    assert "Ctrl-C" not in last  # what stays is the answer


def test_what_varies_comes_first_and_constants_once(lawsweep, toy_sweep):
    code, out, _ = lawsweep("plan", "toys", "params.scale=2", "params.mode=ok")
    lines = out.splitlines()
    assert code == 0
    at = lines.index("varies: n 10, 20, 40, 80")
    assert sorted(lines[at + 1].split()) == ["everywhere:", "mode=ok", "scale=2.0"]
    assert [line.split() for line in lines[at + 2 : at + 4]] == [["n", "runs"], ["10", "2", "new"]]
    assert "varies: n 1 to 9 (9 values)" in lawsweep("plan", "toys", "axes.n=range(1,10)")[1]
    only = lawsweep("plan", "toys", "params.n=10")[1]
    assert ("varies" in only, "everywhere: n=10" in only) == (False, True)


ROWS = [("n", "a long name", "other", "runs"), ("1", "x" * 60, "y" * 12, "2 new")]


def test_a_table_fits_the_terminal():
    assert max(map(len, text.aligned(ROWS))) == 1 + 60 + 12 + 5 + 3 * 2
    for within in (80, 60, 44, 30, 20):
        header, row, *_ = text.aligned(ROWS, within)
        assert max(len(header), len(row)) <= within
        assert row.startswith("1")
        assert row.endswith("2 new")
    assert len(text.aligned(ROWS, 44)) == 2  # cells are cut
    said = "left out, for want of room: other (| cat has them)"
    assert text.aligned(ROWS, 20)[-1] == said
