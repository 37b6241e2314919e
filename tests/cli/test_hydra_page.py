"""The page on Hydra applications: its files and commands run as they stand, outside a checkout."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from lawsweep.cli.main import run_command
from lawsweep.config.application.options import SweeperOptions

PAGE = (Path(__file__).parents[2] / "docs" / "hydra.md").read_text(encoding="utf-8")


def test_the_page_runs(folder, capsys):
    for text in re.findall(r"```(?:python|yaml)\n(.*?)```", PAGE, re.S):
        path = folder / text.split("\n")[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (console,) = re.findall(r"```console\n(.*?)```", PAGE, re.S)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for block in console.split("$ ")[1:]:
        command, _, expected = block.partition("\n")
        words = shlex.split(command)
        if words[0] == "python":
            done = subprocess.run(
                [sys.executable, *words[1:]], capture_output=True, text=True, timeout=300,
                cwd=folder, env=environment,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            said = done.stdout
        else:
            capsys.readouterr()
            assert run_command(words[1:]) == 0
            said = capsys.readouterr().out
        for line in expected.splitlines():  # seconds, and last digits, are the machine's
            assert re.split(r" in \d|  +[-\d]", line.strip())[0] in said, (command, said)
    for study in folder.glob("results/sweeps/*/application.json"):
        assert study.parent.name == "train"


def test_the_page_names_every_setting():
    named = set(re.findall(r"`(\w+)`", PAGE.partition("## Settings")[2].partition("\n\nTested")[0]))
    assert set(SweeperOptions.__dataclass_fields__) <= named


def test_the_plugin_has_the_options_and_their_defaults():
    from hydra_plugins.lawsweep_sweeper import LawsweepSweeperConf

    ours, theirs = vars(SweeperOptions()), vars(LawsweepSweeperConf())
    theirs.pop("_target_")
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        assert (value or None) == (ours[name] or None), name
