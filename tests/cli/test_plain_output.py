"""Whatever stands in params, errors and names, a terminal is sent text."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest

from lawsweep.cli.plain_output import Plain, one_line, own_stream, plain_output, spelled

EVIL = "\x1b]0;owned\x07\x1b[2J\r\x9b31m\u202etxt\x00"
# All controls but for line feed and tab.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


def test_control_characters_are_spelled_out_and_nothing_else_is():
    assert spelled(EVIL) == r"\x1b]0;owned\x07\x1b[2J\r\x9b31m\u202etxt\x00"
    plain = "λ µ ≥ 1\n\ta -> b  é 日本 🙂"
    assert spelled(plain) == plain
    assert one_line("a\nb\tc") == r"a\nb\tc"


def test_streams_are_their_own_again_and_one_for_a_display_is_beneath(monkeypatch):
    below = io.StringIO()
    monkeypatch.setattr(sys, "stdout", below)
    with plain_output(), plain_output():
        print("a\x1b[1mb")
        sys.stdout.writelines(["c\x07\n"])
        assert own_stream(sys.stdout) is below
        assert isinstance(sys.stdout, Plain)
    assert sys.stdout is below
    assert below.getvalue() == "a\\x1b[1mb\nc\\x07\n"


@pytest.fixture
def evil(folder, write):
    """A sweep whose params, failure and host would take over a terminal."""
    (folder / "evil.py").write_text("""
from dataclasses import dataclass
from lawsweep import experiment

@dataclass(frozen=True, kw_only=True)
class Params:
    word: str
    n: int = 1

@dataclass(frozen=True, kw_only=True)
class Metrics:
    y: float
    said: str

@experiment(version=1)
def evil(params: Params, seed: int) -> Metrics:
    if params.n == 2:
        raise ValueError(params.word)
    return Metrics(y=float(params.n), said=params.word)
""")
    write(
        "evil",
        f"""
        experiment: evil:evil
        axes: {{n: [1, 2], word: [{json.dumps(EVIL)}, "=1+1"]}}
        executor: serial
        """,
    )
    yield
    sys.modules.pop("evil", None)


@pytest.mark.parametrize(
    "words",
    [
        ("run", "evil"),
        ("status", "evil"),
        ("plan", "evil"),
        ("show", "RUN_ID"),
        ("show", "FAILED"),
        ("sql", "SELECT * FROM evil"),
        ("verify", "evil"),
        ("replay", "RUN_ID"),
        ("compare", "evil", "evil"),
        ("show", "\x1b[2J"),
        ("status", "no\x1b[2Jne"),
        ("run", "evil", "params.n=\x1b[2J"),
        ("\x1b[2J",),
    ],
)
def test_no_verb_sends_a_terminal_anything_but_text(lawsweep, evil, words, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: f"host{EVIL}")
    lawsweep("run", "evil")
    rows = json.loads(lawsweep("sql", "SELECT run_id, status FROM evil", "--json")[1])
    ids = {"RUN_ID": "ok", "FAILED": "failed"}
    found = {k: next(r["run_id"] for r in rows if r["status"] == s) for k, s in ids.items()}
    _, out, err = lawsweep(*(found.get(w, w) for w in words))
    assert out + err
    assert not CONTROLS.findall(out + err)


def test_a_live_display_has_its_own_sequences_and_no_others(monkeypatch):
    from lawsweep.cli.progress import display

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    below = Terminal()
    monkeypatch.setattr(sys, "stderr", below)
    monkeypatch.setenv("TERM", "xterm")
    with plain_output(), display() as shown:
        shown.say(f"failed: {EVIL}")
    sent = below.getvalue()
    assert "\x1b[" in sent  # the display's own
    assert r"failed: \x1b]0;owned\x07\x1b[2J" in sent.replace("\n", "")
    assert "\x1b]0;" not in sent
    assert "\x07" not in sent
