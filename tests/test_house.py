"""Promises about the house that a linter cannot hold."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import lawsweep

HEAVY = ("torch", "ray", "hydra", "omegaconf", "pyarrow", "pandas", "scipy", "matplotlib")


def loaded_by(statement):
    code = f"{statement}\nimport sys\nprint(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    return set(done.stdout.split("\n")[-2].split())


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import lawsweep", ()),
        ("from lawsweep import experiment, Field, Cost, stream, Sweep", ()),
        ("import lawsweep.grid.plan, lawsweep.grid.sweep, lawsweep.launch.loop", ()),
        ("from lawsweep.experiments import ntk_min_eig, compression, memorization", ()),
        ("import lawsweep.cli.main; lawsweep.cli.main.sections()", ()),
        ("import lawsweep.store.table.parquet", ("pyarrow", "pandas")),
        ("import lawsweep.executors.make", ()),
        (
            "import lawsweep; lawsweep.open('ntk_width').preview()",
            ("hydra", "omegaconf", "pyarrow", "pandas"),
        ),
    ],
)
def test_heavy_imports_are_local(statement, allowed):
    heavy = loaded_by(statement) & set(HEAVY)
    assert heavy <= set(allowed)


def test_public_names_exist():
    for name in lawsweep.__all__:
        assert getattr(lawsweep, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lawsweep.nothing  # noqa: B018
    assert "run" in dir(lawsweep)


SOURCE = Path(lawsweep.__file__).parent


def test_a_folder_shows_what_a_person_takes_in_at_a_glance():
    """About 15 files a folder, and files about one thing; the exceptions are named here."""
    rooms = {p.parent for p in SOURCE.rglob("*.py") if "_data" not in p.parts}
    crowded = {
        str(r.relative_to(SOURCE)): n for r in rooms if (n := len(list(r.glob("*.py")))) > 16
    }
    assert crowded == {}
    long = {
        str(p.relative_to(SOURCE)): n
        for p in SOURCE.rglob("*.py")
        if (n := len(p.read_text(encoding="utf-8").splitlines())) > 340
    }
    assert long == {}


def test_no_module_hides_behind_an_underscore():
    hidden = [p for p in SOURCE.rglob("_*.py") if p.name not in ("__init__.py", "__main__.py")]
    assert hidden == []


def module_name(path):
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source, modules):
    """(module, name) of each import in the source, in functions and TYPE_CHECKING blocks too.

    A name that is a module itself is that module; one of another package is left out.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full, "") if full in modules else (node.module, alias.name)


def circles(graph):
    """Strongly connected components of more than one node, of ``node -> nodes it points to``."""
    reach = {}
    for start in graph:
        seen, todo = set(), [start]
        while todo:
            new = [n for n in graph.get(todo.pop(), ()) if n not in seen]
            seen.update(new)
            todo += new
        reach[start] = seen
    found = {frozenset(m for m in reach[n] if n in reach.get(m, ())) for n in graph}
    return sorted((sorted(c) for c in found if len(c) > 1), key=lambda c: c[0])


def import_graph(sources):
    """module -> module it imports -> names it takes; ``sources``: module -> text.

    A package that hands out names on demand is a face: those who ask it are not tied to it.
    """
    faces = {m for m, text in sources.items() if "\ndef __getattr__(" in text}
    graph = {m: defaultdict(set) for m in sources if m not in faces}
    for module, names in graph.items():
        for other, name in imports(sources[module], sources):
            if other in graph:
                names[other].add(name)
    return graph


def test_no_modules_import_one_another_in_a_circle():
    """A circle is one file in several pieces: none can be read, or changed, without the others."""
    paths = [p for p in SOURCE.rglob("*.py") if "_data" not in p.parts]
    graph = import_graph({module_name(p): p.read_text(encoding="utf-8") for p in paths})
    ties = [
        f"{one} takes {', '.join(sorted(names - {''})) or 'the module'} of {other}"
        for circle in circles(graph)
        for one in circle
        for other, names in graph[one].items()
        if other in circle
    ]
    assert ties == []


def test_a_circle_is_found_wherever_its_imports_stand():
    sources = {
        "p": "",
        "p.a": "from p import b",
        "p.b": "def f():\n    import p.c",
        "p.c": "if TYPE_CHECKING:\n    from p.a import A\n    from p.d import D",
        "p.d": "from os import path",
        "p.face": "from p.e import E\n\ndef __getattr__(name): ...",
        "p.e": "from p.face import something",
    }
    assert circles(import_graph(sources)) == [["p.a", "p.b", "p.c"]]
    assert import_graph(sources)["p.c"] == {"p.a": {"A"}, "p.d": {"D"}}
