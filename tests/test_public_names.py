"""Public names are what they are, whatever is imported first; and they cost nothing until used."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lawsweep
import lawsweep.kernels
from lawsweep.core.code.source import imports_in

PACKAGES = ("lawsweep", "lawsweep.kernels")

# Every submodule in one order, then what each public name is; a name that a module took fails.
# Before the next order ours are unknown again; what we import of others, most of the time, is not.
CODE = """
import importlib, inspect, pkgutil, random, sys
import lawsweep
every = sorted(m.name for m in pkgutil.walk_packages(lawsweep.__path__, "lawsweep."))
assert len(every) > 200, every
for order in ("forward", "backward", "shuffled"):
    for name in [n for n in sys.modules if n.partition(".")[0] == "lawsweep"]:
        del sys.modules[name]
    names = list(every)
    if order == "backward":
        names.reverse()
    elif order == "shuffled":
        random.Random(order).shuffle(names)
    for name in names:
        importlib.import_module(name)
    for name in names:  # and no module is hidden behind what a package calls as it is called
        parent, _, leaf = name.rpartition(".")
        hidden = getattr(sys.modules[parent], leaf)
        assert hidden is sys.modules[name], f"{name} is hidden by {hidden!r}"
    for package in sys.argv[1:]:
        found = importlib.import_module(package)
        for name in dict.fromkeys([*found.__all__, *found._HOME]):
            value = getattr(found, name)
            assert not inspect.ismodule(value), f"{package}.{name} is a module"
            print(package, name, value.__module__ if hasattr(value, "__module__") else value)
    print("order", order)
"""


@pytest.mark.slow
def test_no_import_changes_what_a_public_name_is():
    done = subprocess.run(
        [sys.executable, "-c", CODE, *PACKAGES],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    forward, backward, shuffled, end = re.split(r"order \w+\n", done.stdout)
    assert forward == backward == shuffled
    assert end == ""
    expected = []
    for package in PACKAGES:
        found = importlib.import_module(package)
        expected += [(package, n) for n in dict.fromkeys([*found.__all__, *found._HOME])]
    assert [tuple(line.split()[:2]) for line in forward.splitlines()] == expected


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_the_one_at_home(package):
    found = importlib.import_module(package)
    inside = package if package == "lawsweep.kernels" else ""
    for name, home in found._HOME.items():
        module = importlib.import_module(f"{inside}.{home}".lstrip("."))
        assert getattr(module, name) is getattr(found, name)
    assert {*found._HOME} >= {*found.__all__} - {"__version__"}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        found.nothing  # noqa: B018
    assert set(found.__all__) <= set(dir(found))


def test_the_stub_says_the_same_as_the_table():
    stub = Path(lawsweep.kernels.__file__).with_suffix(".pyi")
    told = {
        alias.asname: f"{node.module}"
        for node in ast.parse(stub.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = {n: f"lawsweep.kernels.{m}" for n, m in lawsweep.kernels._HOME.items()}
    assert told == homes


def test_the_public_names_are_no_part_of_an_experiments_code():
    text = Path(lawsweep.kernels.__file__).read_bytes()
    assert not [n for n in imports_in(text, "lawsweep.kernels") if n.startswith("lawsweep.")]


def test_the_names_of_kernels_cost_no_torch_until_one_is_used():
    code = "import sys, lawsweep.kernels as k; dir(k); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
