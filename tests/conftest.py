from __future__ import annotations

import compileall
import contextlib
import gc
import os
import signal
import sys
import uuid
import zlib
from collections import Counter
from pathlib import Path

import hypothesis
import psutil
import pytest

# The same examples every time, and no clock: a busy machine must not fail a test.
hypothesis.settings.register_profile("lawsweep", deadline=None, derandomize=True)
hypothesis.settings.load_profile("lawsweep")

SUPPORT = Path(__file__).parent / "support"
sys.path.insert(0, str(SUPPORT))
from hangs import (  # noqa: E402
    pytest_runtest_protocol,  # noqa: F401
    pytest_runtest_setup,  # noqa: F401
    pytest_sessionfinish,  # noqa: F401
    pytest_sessionstart,  # noqa: F401
)

# Stated rates decide: no test depends on what a clock says of this machine.
os.environ.setdefault("LAWSWEEP_CALIBRATION", "off")

# A shell ignores Ctrl-C for what it starts in the background, and so would every process below.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Half a minute as a whole, of tests that are each quick.
LONG = {"test_executors.py", "test_extending.py", "test_pages.py", "test_application.py",
        "test_applicable.py", "test_ntk_directions.py", "test_compression.py"}  # fmt: skip


# Which tests of kernels and experiments run, set by the Makefile and tests/portable.py: "i/n", the
# portable ones and those of every n-th file that are not slow; "rest", what no such share runs.
SHARE = os.environ.get("LAWSWEEP_TEST_SHARE")
SHARED = tuple(Path(__file__).parent / name for name in ("kernels", "experiments"))


def shared(path):
    return any(folder in path.parents for folder in SHARED)


def in_share(path, share):
    """Whether the tests of a file that are not portable run under this setting of several."""
    i, n = map(int, share.split("/"))
    return zlib.crc32(path.relative_to(Path(__file__).parent).as_posix().encode()) % n == i


def runs(path, marks):
    """Whether a test of these marks runs in this session."""
    if not SHARE or not shared(path):
        return True
    if SHARE == "rest":
        return "slow" in marks and "portable" not in marks
    return "portable" in marks or ("slow" not in marks and in_share(path, SHARE))


def pytest_ignore_collect(collection_path):
    """A file with nothing to run is not imported: to find that out would take a second or two."""
    if not SHARE or collection_path.suffix != ".py" or not shared(collection_path):
        return None
    text = collection_path.read_text(encoding="utf-8")
    may = [{m for m in ("slow", "portable") if f"mark.{m}" in text}]
    may += [may[0] - {"portable"}, may[0] - {"slow"}, set()]  # not all of its tests need them
    return None if any(runs(collection_path, marks) for marks in may) else True


def pytest_collection_modifyitems(config, items):
    """Files with slow tests first, then long ones: one that came last would run beside nothing."""
    here = [runs(item.path, {mark.name for mark in item.iter_markers()}) for item in items]
    if not all(here):
        left_out = [item for item, runs_here in zip(items, here, strict=True) if not runs_here]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item, runs_here in zip(items, here, strict=True) if runs_here]
    slow_files = Counter(i.path for i in items if i.get_closest_marker("slow") is not None)
    items.sort(key=lambda item: (-slow_files[item.path], item.path.name not in LONG))


def pytest_configure(config):
    """Compile what is ours, once: the processes that tests start keep nothing that they compile."""
    if not hasattr(config, "workerinput") and not sys.dont_write_bytecode:
        compileall.compile_dir(Path(__file__).parents[1] / "src", quiet=2)


def pytest_collection_finish():
    """What the imports made stays: looking through it again costs each gc.collect 0.2 s."""
    # The tests' own modules are kept compiled.  Those that tests write are not: one that is written
    # again in the same second, as long as before, would be taken for the old one.
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    gc.freeze()


def pytest_unconfigure():
    gc.unfreeze()


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """A sync in this process needs an open file and does no more: nothing here cuts the power."""
    monkeypatch.setattr(os, "fsync", os.fstat)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder, with results inside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAWSWEEP_RESULTS_DIR", raising=False)
    monkeypatch.syspath_prepend(str(SUPPORT))
    return tmp_path


MARK = "LAWSWEEP_TEST_SESSION"  # inherited: another session's processes are none of ours


def ray_processes(session):
    found = []
    for process in psutil.process_iter(["name", "status"]):
        name = process.info["name"] or ""
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        if alive and name.startswith(("ray::", "raylet", "gcs_server")):
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == session:
                    found.append(process)
    return found


@pytest.fixture(scope="session", autouse=True)
def no_ray_left_behind():
    session = os.environ[MARK] = uuid.uuid4().hex
    yield
    _, left = psutil.wait_procs(ray_processes(session), timeout=15)
    assert not left, f"Ray processes outlived the tests: {left}"


@pytest.fixture(autouse=True)
def rounding_of_another_machine(request):
    """With LAWSWEEP_TEST_ROUNDING=k torch rounds as no library here does; see another_blas."""
    kind = os.environ.get("LAWSWEEP_TEST_ROUNDING")
    if not kind or request.node.get_closest_marker("plain_torch"):
        yield
        return
    from another_blas import another_blas

    with another_blas(int(kind)):
        yield
