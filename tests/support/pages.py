"""The pages of the documentation, run as they stand: one mechanism for all of them.

A page is its fenced blocks, from top to bottom, in an empty folder and in this process:

- a block whose first line is a comment with a file's name (``# train.py``) is that file; those
  of the index of the page's folder are there as well;
- of ``console`` the lines after ``$`` are commands, and those below are what is said, in that
  order; of ``sh`` every line is a command;
- another ``python`` block is executed, in one namespace for the page;
- ``yaml``, ``toml`` and ``json`` without a name have to be readable as such;
- ``<!-- not run: why -->`` before a block leaves it out; sweeps of ours that it names are planned.

A line of output holds where it stands among those that were said; others may lie between.  Numbers
with a point, and seconds, are any; whole ones are exact; ``...`` at its end is anything.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<why>.+?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
_NAME = re.compile(r"# ([\w./-]+\.\w+)\n")
_CODE = re.compile(r"exit code (\d+)")
_ANY_NUMBER = r"-?(?:\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?|nan|inf)"
_TELLS_TIME = re.compile(
    r"-?\d[\d,]*\.\d+(?:e[+-]?\d+)?|(?<=in )\d+(?= s\b)|(?<=\()\d[\d,]*(?= \w+/s)"
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it begins at, why it is not run."""

    language: str
    text: str
    line: int
    why: str | None = None

    @property
    def file(self) -> str | None:
        """The file that it is."""
        found = _NAME.match(self.text)
        return found[1] if found else None


def blocks(page: Path | str) -> list[Block]:
    """The blocks of a page, a path or its text."""
    text = page if isinstance(page, str) else page.read_text(encoding="utf-8")
    return [
        Block(m["language"], m["text"], text.count("\n", 0, m.start()) + 1, m["why"])
        for m in _BLOCK.finditer(text)
    ]


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Of a console block each command and the lines below it."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found and found[-1][0].endswith("\\") and not found[-1][1]:
            found[-1] = (found[-1][0][:-1] + line, [])
        else:
            found[-1][1].append(line)
    return found


def pattern(line: str) -> str:
    """What a line of output may be."""
    ends = line.endswith("...")
    line = line.removesuffix("...").rstrip()
    parts, at = [], 0
    for number in _TELLS_TIME.finditer(line):
        parts += [re.escape(line[at : number.start()]), _ANY_NUMBER]
        at = number.end()
    text = "".join([*parts, re.escape(line[at:])])
    text = re.sub(r"(?:\\ )+", r"\\s+", text)  # columns are as wide as their numbers
    return text + (r"\b.*" if ends and line[-1:].isalnum() else ".*" if ends else r"\s*")


def unsaid(expected: list[str], said: str) -> str | None:
    """The first line that was not said, after those before it."""
    lines = iter(said.splitlines())
    for line in expected:
        if line.strip() in ("", "..."):
            continue
        held = re.compile(pattern(line))
        if not any(held.fullmatch(other.rstrip()) for other in lines):
            return line
    return None


@contextmanager
def as_it_was(folder: Path, all_of: Path | None = None):
    """Runs in a folder; afterwards the process imports, finds and stands as before.

    Modules of the folder (or of ``all_of``) are forgotten.
    """
    here, path, modules = Path.cwd(), [*sys.path], {*sys.modules}
    argv, environment = sys.argv, {**os.environ}
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        sys.path[:], sys.argv = path, argv
        os.environ.clear()
        os.environ.update(environment)
        for name in {*sys.modules} - modules:
            found = getattr(sys.modules[name], "__file__", None) or ""
            if found.startswith(str(all_of or folder)):
                del sys.modules[name]
                parent, _, leaf = name.rpartition(".")
                if parent in sys.modules and hasattr(sys.modules[parent], leaf):
                    delattr(sys.modules[parent], leaf)


def call(line: str) -> tuple[int, str]:
    """A command, in this process where it is Python's or ours: its exit code and what it said."""
    from lawsweep.cli.main import run_command

    words = shlex.split(line, comments=True)
    said, complaint = StringIO(), StringIO()
    code = 0
    if words[0] == "cd":
        os.chdir(words[1])
    elif words[0] == "lawsweep":
        with redirect_stdout(said), redirect_stderr(complaint):
            code = run_command(words[1:])
    elif words[0] == "bash" or (
        words[0] == "python" and "import hydra" in Path(words[1]).read_text()
    ):
        # Hydra sets up logging for a process of its own.
        bin_folder = Path(sys.executable).parent
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"},
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr
    elif words[0] == "python" and words[1].endswith(".py"):
        with redirect_stdout(said), redirect_stderr(complaint):
            code = script(words[1], words[2:])
    else:
        raise AssertionError(f"no test can run {words[0]!r}: mark its block 'not run: why'")
    return code, said.getvalue() + complaint.getvalue()


def is_hydras(words: list[str]) -> bool:
    """An application of Hydra's: it sets up logging, for a process of its own."""
    return words[0] == "python" and "import hydra\n" in Path(words[1]).read_text(encoding="utf-8")


def script(file: str, arguments: list[str]) -> int:
    """``python FILE ARGUMENTS`` in this process."""
    before, path = sys.argv, [*sys.path]
    sys.argv, sys.path[:] = [file, *arguments], [str(Path.cwd()), *sys.path]
    try:
        runpy.run_path(file, run_name="__main__")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.argv, sys.path[:] = before, path
    return 0


def run_page(page: Path, folder: Path) -> dict[str, object]:
    """Run a page in an empty folder: the namespace of its Python.  AssertionError has the line."""
    shown = page.relative_to(ROOT)
    space: dict[str, object] = {"__name__": "page"}
    index = page.with_name("index.md")
    shared = [b for b in blocks(index) if b.file] if index != page and index.exists() else []
    with as_it_was(folder):
        sys.path.insert(0, "")  # as a notebook has it
        for block in [*shared, *blocks(page)]:
            where = f"{shown}:{block.line}"
            try:
                if block.why is None:
                    run_block(block, space, where)
                elif block.language == "console":
                    _understood(block, where)
            except AssertionError:
                raise
            except Exception as error:
                raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error
    return space


def run_block(block: Block, space: dict[str, object], where: str) -> None:
    """What a block of a page is for; ``where`` is told where it fails."""
    if block.file is not None and block.language != "console":
        place = Path(block.file)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(block.text, encoding="utf-8")
    elif block.language in ("console", "sh"):
        told = commands(block.text) if block.language == "console" else [
            (line, []) for line in block.text.splitlines() if line.strip()
        ]  # fmt: skip
        for line, expected in told:
            _command(line, expected, where)
    elif block.language == "python":
        with redirect_stdout(StringIO()):
            exec(compile(block.text, where, "exec"), space)
    elif block.language == "yaml":
        list(yaml.safe_load_all(block.text))
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "json":
        json.loads(block.text)


def _command(line: str, expected: list[str], where: str) -> None:
    expected_code = 0
    if expected and (told := _CODE.fullmatch(expected[0])):
        expected_code, expected = int(told[1]), expected[1:]
    code, said = call(line)
    assert code == expected_code, f"{where}: exit code {code} of `{line}`\n{said}"
    missing = unsaid(expected, said)
    assert missing is None, f"{where}: `{line}` did not say\n  {missing}\nbut\n{said}"


def _understood(block: Block, where: str) -> None:
    """Of a block that is not run: verbs, sweeps and overrides that there are."""
    from lawsweep.cli.verbs import homes
    from lawsweep.config.compose import load_sweep
    from lawsweep.config.files import sweep_names

    for line, _ in commands(block.text):
        words = shlex.split(line, comments=True)
        if words[0] != "lawsweep":
            continue
        assert words[1] in homes(), f"{where}: there is no verb {words[1]!r}"
        plain = [w for w in words[2:] if not w.startswith("-")]
        if plain and plain[0] in sweep_names():
            assert load_sweep(*plain).plan().n_points > 0, where
