"""A verb is a file: what it is called, where it stands in the help, and how it answers."""

from __future__ import annotations

import inspect
import json
import sys

import pytest

from lawsweep.cli import verbs
from lawsweep.cli.answers import Answer, Verb
from lawsweep.cli.verbs import homes, load_verb, sections

COUNT = '''
"""``lawsweep count``."""

from dataclasses import dataclass

from lawsweep.cli.answers import Answer, Note, verb
from lawsweep.cli.options import load, sweep_arguments


@dataclass
class Counted(Answer):
    n: int

    def lines(self):
        yield f"{self.n} runs"
        yield Note("and a note")

    def to_dict(self):
        return {"n": self.n, "half": self.n / 2, "none": float("nan")}


@verb(15, short_help="How many runs are planned.")
@sweep_arguments
def count(sweep, overrides):
    """How many runs a sweep plans."""
    print("on the way")
    return Counted(len(load(sweep, overrides).plan()))
'''


@pytest.fixture
def count(folder, monkeypatch):
    """A verb ``count`` in one file among those that plan and run."""
    from lawsweep.cli.verbs import running

    (folder / "more").mkdir()
    (folder / "more" / "count.py").write_text(COUNT)
    monkeypatch.setattr(running, "__path__", [*running.__path__, str(folder / "more")])
    homes.cache_clear()
    yield
    sys.modules.pop("lawsweep.cli.verbs.running.count", None)
    homes.cache_clear()


def test_a_verb_in_one_file_is_listed_answers_and_speaks_json(lawsweep, toy_sweep, count):
    help_text = lawsweep("--help")[1]
    listed = [line.split()[0] for line in help_text.splitlines() if line.startswith("  ")]
    assert listed.index("run") < listed.index("count") < listed.index("plan")
    assert "How many runs are planned." in help_text
    assert lawsweep("count", "toys", "seeds=3") == (
        0,
        "on the way\n12 runs\n",
        "note: and a note\n",
    )
    code, out, err = lawsweep("count", "toys", "--json")
    assert (code, err) == (0, "on the way\n")
    assert json.loads(out) == {"n": 8, "half": 4.0, "none": None}
    assert "Did you mean 'count'?" in lawsweep("counts", "toys")[2]


def test_each_verb_is_named_once_and_answers_with_an_object():
    for name, home in homes().items():
        verb = load_verb(name)
        assert isinstance(verb, Verb)
        assert home.rpartition(".")[2].rstrip("_") == verb.name == name
        module = sys.modules[home]
        answers = [
            c for c in vars(module).values()
            if inspect.isclass(c) and issubclass(c, Answer) and c.__module__ == home
        ]  # fmt: skip
        for answer in answers:
            assert {"lines", "to_dict"} <= set(vars(answer)), answer
        has_json = any("--json" in p.opts for p in verb.params)
        assert has_json or name in ("logs", "attach")
    places = [[v.place for v in each] for _, each in sections()]
    assert all(len(set(p)) == len(p) for p in places)
    assert sum(map(len, places)) == len(homes()) >= 22
    assert set(verbs.SECTIONS) == {h.split(".")[3] for h in homes().values()}
