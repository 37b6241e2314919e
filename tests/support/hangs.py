"""No test waits for ever: one that hangs ends its process, which says where every thread stood.

Waits in tests have bounds of their own, which end in a sentence; this is for what has none, such
as a call into a library that never returns.  xdist tells of a process that ended as a failure and
begins another one, which is given the same test again: there it fails at once.
"""

from __future__ import annotations

import faulthandler
import os
import tempfile
from pathlib import Path

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

# Far beyond what any test takes on a machine many times slower, and beyond their own bounds.
LIMIT_S = 900.0
RUN, WORKER = "PYTEST_XDIST_TESTRUNUID", "PYTEST_XDIST_WORKER"
HUNG = "Timeout ("  # as faulthandler begins

_notes = None  # of this process: the test that is under way, and the stacks of one that hung
_before: dict[str, str] = {}


def _note(worker):
    return Path(tempfile.gettempdir()) / f"lawsweep-tests-{os.environ[RUN]}-{worker}.txt"


def pytest_sessionstart():
    global _notes
    if RUN not in os.environ:
        return
    for path in _note("x").parent.glob(_note("*").name):
        test, _, stacks = path.read_text().partition("\n")
        if HUNG in stacks:
            _before[test] = stacks
    _notes = _note(os.environ[WORKER]).open("w+")


def pytest_sessionfinish():
    global _notes
    if _notes is not None:
        _notes.close()
        Path(_notes.name).unlink(missing_ok=True)
        _notes = None


def pytest_runtest_setup(item):
    if item.nodeid in _before:
        pytest.fail(f"it hung for {LIMIT_S:g} s: {_before[item.nodeid]}", pytrace=False)


@pytest.hookimpl(wrapper=True, trylast=True)  # innermost: pytest has but one such alarm
def pytest_runtest_protocol(item):
    if _notes is None:
        told = item.config.stash.get(fault_handler_stderr_fd_key, 2)
    else:
        told = _notes
        _notes.seek(0)
        _notes.truncate()
        _notes.write(f"{item.nodeid}\n")
        _notes.flush()
    faulthandler.dump_traceback_later(LIMIT_S, exit=True, file=told)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
