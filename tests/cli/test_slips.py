"""What a person does by mistake gets a sentence, whatever the machine makes of it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from lawsweep.cli.plain_output import Plain

LONG = "a" * 300


def link_in_a_circle(path):
    path.symlink_to(path.name)


def link_to_nothing(path):
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (link_in_a_circle, "cannot be opened: Too many levels of symbolic links"),
        (link_to_nothing, "is a link to nowhere, which does not exist"),
        (os.mkfifo, "is a pipe, a socket or a device, and a sweep is a YAML file"),
        (os.mkdir, "is a folder, and a sweep is a YAML file"),
        (lambda path: None, "There is no sweep file"),
    ],
)
def test_what_lies_there_instead_of_a_sweep_file_is_said(lawsweep, folder, make, said):
    make(folder / "s.yaml")
    code, out, err = lawsweep("plan", "s.yaml")
    assert (code, out) == (10, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", [LONG, f"./{LONG}.yaml", f"{LONG}/s.yaml", "a\0b", "a\0b.yaml"])
def test_no_name_is_too_odd_to_be_unknown(lawsweep, name):
    code, out, err = lawsweep("plan", name)
    assert (code, out) == (10, "")
    assert "a bug" not in err


def test_a_working_folder_that_is_gone_is_said(lawsweep, folder, monkeypatch):
    gone = folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    code, out, err = lawsweep("plan", "toys")
    monkeypatch.chdir(folder)
    assert (code, out) == (13, "")
    assert "working folder cannot be used" in err


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", "λ → 3 ± 1 − ≤ 日"),
        ("latin-1", r"\u03bb -> 3 ± 1 - <= \u65e5"),
        ("cp1252", r"\u03bb -> 3 ± 1 - <= \u65e5"),
        ("koi8-r", r"\u03bb -> 3 +/- 1 - ≤ \u65e5"),
        ("ascii", r"\u03bb -> 3 +/- 1 - <= \u65e5"),
    ],
)
def test_a_terminal_of_another_character_set_is_written_to_in_its_own(encoding, said):
    below = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Plain(below).write("λ → 3 ± 1 − ≤ 日")
    below.flush()
    assert below.buffer.getvalue().decode(encoding) == said


def test_what_hydra_cannot_read_without_assertions_is_said():
    words = ["plan", "smoke", "params.width=shuffle(1,2)"]
    found = subprocess.run(
        [sys.executable, "-O", "-m", "lawsweep", *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (found.returncode, found.stdout) == (11, "")
    assert "under python -O or PYTHONOPTIMIZE" in found.stderr


def test_a_file_of_functions_without_one_names_them(lawsweep, folder):
    (folder / "f.py").write_text("def good(n):\n    return n\n\ndef _own():\n    pass\n\nx = 1\n")
    code, _, err = lawsweep("run", "f.py")
    assert code == 10
    assert (
        "f.py is a file of functions: say which one is to be run, after a colon: f.py:good." in err
    )
    (folder / "g.py").write_text("x = 1\n")
    assert "g.py is no sweep, and has no function" in lawsweep("plan", "g.py")[2]
    (folder / "h.py").write_text("def (\n")
    assert "h.py is no sweep, and cannot be read as Python" in lawsweep("plan", "h.py")[2]
    assert "There is no file nofile.py" in lawsweep("plan", "nofile.py")[2]


ODD = """
experiment: odd.py:odd
axes: {n: [1, 2]}
executor: serial
"""


def test_a_pipe_gets_what_a_file_does_and_json_is_json(lawsweep, folder, write):
    (folder / "odd.py").write_text(
        "def odd(n: int):\n"
        "    loss = float('nan') if n == 1 else float('inf')\n"
        "    return {'loss': loss, 'text': 'a\\x01b\\n\\u00b5'}\n"
    )
    write("odd", ODD)
    assert lawsweep("run", "odd")[0] == 0
    query = "SELECT loss, text FROM odd_odd ORDER BY n"
    for kind in ("csv", "tsv", "jsonl", "md"):
        printed = lawsweep("sql", query, "--format", kind)[1]
        assert lawsweep("sql", query, "-o", f"odd.{kind}")[0] == 0
        assert printed == (folder / f"odd.{kind}").read_text(), kind
        assert lawsweep("export", "odd", "-o", "-", "--format", kind)[0] == 0
    for words in (("sql", query), ("export", "odd", "-o", "-")):
        lines = lawsweep(*words, "--format", "json")[1].splitlines()
        assert [json.loads(line, parse_constant=pytest.fail)["loss"] for line in lines] == [
            None
        ] * 2
    exact = (folder / "odd.jsonl").read_text()
    assert ("NaN" in exact, "Infinity" in exact) == (True, True)
