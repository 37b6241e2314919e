"""Names that our table and other packages' metadata give."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import time

import pytest
from outside import write_package

from lawsweep.core import plugins
from lawsweep.core.code import installed as installed_module
from lawsweep.core.errors import InvalidValueError, LawsweepError, UnknownNameError
from lawsweep.core.registry import BUILTIN, experiment_names, find_experiment

GROUP = "lawsweep.executors"
OURS = {"counter": "collections:Counter", "path": "os:path.join"}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Lay down a package whose modules are unknown to this process afterwards."""
    before = set(sys.modules)

    def lay_down(name, modules, offers):
        folder = write_package(tmp_path / name, name, modules, {GROUP: offers})
        monkeypatch.syspath_prepend(str(folder))
        return folder

    yield lay_down
    for name in set(sys.modules) - before:
        if name.startswith("outside_"):
            del sys.modules[name]
    importlib.invalidate_caches()


def test_ours_are_a_table_and_are_imported_when_asked_for():
    import collections
    import os

    assert plugins.names(GROUP, OURS) == ["counter", "path"]
    assert plugins.load(GROUP, "counter", OURS) is collections.Counter
    assert plugins.load(GROUP, "path", OURS) is os.path.join
    assert plugins.targets(GROUP, OURS) == OURS


def test_a_package_adds_a_name(installed):
    installed("outside-pool", {"outside_pool": "class Pool:\n    pass\n"},
              {"pool": "outside_pool:Pool"})  # fmt: skip
    assert plugins.names(GROUP, OURS) == ["counter", "path", "pool"]
    assert plugins.target(GROUP, "pool", OURS) == "outside_pool:Pool"
    assert "outside_pool" not in sys.modules
    assert plugins.load(GROUP, "pool", OURS).__name__ == "Pool"
    with pytest.raises(UnknownNameError, match=r"Unknown executor 'pol'.* Did you mean 'pool'"):
        plugins.load(GROUP, "pol", OURS)
    with pytest.raises(UnknownNameError, match="Unknown figure kind 'pol'"):
        plugins.load(GROUP, "pol", OURS, kind="figure kind")


def test_a_folder_is_read_once_and_again_when_packages_come_and_go(installed):
    folder = installed("outside-one", {}, {"one": "outside_one:x"})
    hour_ago = time.time() - 3600
    os.utime(folder, (hour_ago, hour_ago))
    assert plugins.names(GROUP, {}) == ["one"]
    kept = installed_module._read[str(folder)]
    assert plugins.names(GROUP, {}) == ["one"]
    assert installed_module._read[str(folder)] is kept
    write_package(folder, "outside-two", {}, {GROUP: {"two": "outside_two:x"}})
    assert plugins.names(GROUP, {}) == ["one", "two"]
    (metadata,) = folder.glob("outside_one-*")
    shutil.rmtree(metadata)
    assert plugins.names(GROUP, {}) == ["two"]
    # As importlib has it: of two packages of one name, the first on the path is the one.
    write_package(folder / "front", "outside_Two", {}, {GROUP: {"three": "outside_two:x"}})
    sys.path.insert(0, str(folder / "front"))
    try:
        assert plugins.names(GROUP, {}) == ["three"]
    finally:
        sys.path.remove(str(folder / "front"))


def test_an_error_in_a_package_is_told_from_a_bug_of_ours(installed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    installed("outside-slip", {"outside_slip": "def slip():\n    raise KeyError('oh')\n"},
              {"slip": "outside_slip:slip"})  # fmt: skip
    with pytest.raises(KeyError) as caught:
        plugins.load(GROUP, "slip", OURS)()
    place = plugins.place_of(caught.value)
    assert place is not None
    assert place.startswith("outside_slip.py line 2, in slip, of package outside-slip")
    with pytest.raises(UnknownNameError) as ours:
        plugins.load(GROUP, "nothing", OURS)
    assert plugins.place_of(ours.value) is None


def test_metadata_in_the_working_folder_is_passed_over_and_said(installed, monkeypatch):
    folder = installed("outside-here", {"outside_here": "x = 1\n"}, {"here": "outside_here:x"})
    monkeypatch.chdir(folder)
    with pytest.raises(UnknownNameError, match=r"passed over: install the package \(pip install"):
        plugins.load(GROUP, "here", OURS)
    with pytest.raises(UnknownNameError) as caught:
        plugins.load(GROUP, "there", OURS)
    assert "passed over" not in str(caught.value)


def test_our_names_are_ours(installed):
    installed("outside-thief", {"outside_thief": "raise SystemError\n"},
              {"counter": "outside_thief:Mine"})  # fmt: skip
    assert plugins.load(GROUP, "counter", OURS).__name__ == "Counter"
    assert plugins.targets(GROUP, OURS)["counter"] == OURS["counter"]
    assert "outside_thief" not in sys.modules


def test_a_name_of_two_packages_is_refused_with_both(installed):
    for one in ("a", "b"):
        installed(
            f"outside-{one}", {f"outside_{one}": "Pool = 1\n"}, {"pool": f"outside_{one}:Pool"}
        )
    with pytest.raises(InvalidValueError) as caught:
        plugins.load(GROUP, "pool", OURS)
    assert str(caught.value) == (
        "The executor 'pool' is offered by more than one package: outside-a 1.0, outside-b 1.0. "
        "Uninstall all but one."
    )
    assert "pool" not in plugins.targets(GROUP, OURS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_module_here\n", "No module named 'no_such_module_here'"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("def broken(:\n", "SyntaxError"),
        ("Other = 1\n", "has no attribute 'Pool'"),
    ],
)
def test_a_broken_package_is_named(installed, text, reason):
    installed("outside-broken", {"outside_broken": text}, {"pool": "outside_broken:Pool"})
    with pytest.raises(InvalidValueError) as caught:
        plugins.load(GROUP, "pool", OURS)
    said = str(caught.value)
    assert said.startswith("The executor 'pool' of package outside-broken 1.0 cannot be loaded")
    assert reason in said
    assert said.endswith("Mend the package, or uninstall it.")


def test_metadata_in_the_working_folder_is_passed_over(installed, monkeypatch):
    folder = installed("outside-received", {"outside_received": "raise SystemError\n"},
                       {"pool": "outside_received:Pool"})  # fmt: skip
    monkeypatch.chdir(folder)
    assert plugins.names(GROUP, OURS) == ["counter", "path"]
    with pytest.raises(LawsweepError, match="Unknown executor 'pool'"):
        plugins.load(GROUP, "pool", OURS)


def test_experiments_are_found_the_same_way():
    assert {name: find_experiment(name).name for name in BUILTIN} == {n: n for n in BUILTIN}
    assert set(BUILTIN) <= set(experiment_names())


def test_our_own_names_cost_no_look_at_the_metadata():
    code = (
        "import sys; from lawsweep.core import plugins; "
        "plugins.load('lawsweep.executors', 'a', {'a': 'os:getcwd'}); "
        "raise SystemExit('importlib.metadata' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 0
