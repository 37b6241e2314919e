"""The terminal is the debugger's while it is on: ``breakpoint()`` in a run, a look at a failure."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    from pdb import Pdb

Look = Callable[[BaseException], object]  # what is shown a run's failure
_OURS = Path(__file__).resolve().parents[1]
# What stands between two runs is ours: stepping on from the last line goes past it.
_PASSED = tuple(f"lawsweep.{room}.*" for room in ("worker", "core", "executors", "launch"))
_ANSWERS = ("experiments", "kernels")  # rooms of ours that a person debugs as their own
_INSTALLED = tuple(
    sorted({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")} - {None})
)


class DebuggerLeftError(KeyboardInterrupt):
    """A person left the debugger that a run was in: a Ctrl-C, whatever the run is."""


class Screen(Protocol):
    """What draws on the terminal by itself, and can leave it alone for a while."""

    def pause(self) -> None:
        """Draw nothing until ``resume``."""

    def resume(self) -> None:
        """Draw again."""


_screens: list[Screen] = []


@contextmanager
def giving_way(screen: Screen) -> Iterator[None]:
    """Within, ``screen`` leaves the terminal to a debugger while one is on."""
    _screens.append(screen)
    try:
        yield
    finally:
        _screens.remove(screen)


class Debuggable:
    """Around a run, outside of what listens to its output: a debugger in it has the terminal.

    Be it ``breakpoint()``, ``pdb.set_trace()``, or that of a debugger made of pdb's (IPython's).
    From there to the end of the run nothing else draws or listens.  Leaving the debugger (``q``)
    is a Ctrl-C: it ends the launch, and costs no row.  Somebody's own ``sys.breakpointhook`` is
    left alone.
    """

    def __enter__(self) -> None:
        self._before, self._streams = sys.breakpointhook, (sys.stdout, sys.stderr)
        self._is_on = False
        if self._before is sys.__breakpointhook__:
            sys.breakpointhook = self._begin
        # Where nobody can answer pdb need not be loaded: that takes each worker 30 ms.
        self._put_back = None if _leads_nowhere() else self._watch_pdb()

    def _watch_pdb(self) -> Callable[[], None]:
        """Hear of ``pdb.set_trace()``; what ends that."""
        from pdb import Pdb

        # Of the class: ``from pdb import set_trace`` has bound the function by now.
        own, begin = Pdb.__dict__.get("set_trace"), Pdb.set_trace

        def set_trace(debugger: Pdb, frame: FrameType | None = None, **named: Any) -> Any:
            heard = sys.stdout
            self._take_terminal("pdb.set_trace()")
            if debugger.stdout is heard:
                debugger.stdout = sys.stdout
            debugger.skip = debugger.skip or set(_PASSED)
            return begin(debugger, frame or sys._getframe(1), **named)

        def put_back() -> None:
            if own is None:
                del Pdb.set_trace
            else:
                Pdb.set_trace = own  # type: ignore[method-assign]

        Pdb.set_trace = set_trace  # type: ignore[method-assign, assignment]
        return put_back

    def __exit__(
        self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None
    ) -> None:
        sys.breakpointhook = self._before
        if self._put_back is not None:
            self._put_back()
        if self._is_on:
            sys.settrace(self._tracing)
            for screen in _screens:
                screen.resume()
        if kind is not None and (kind.__module__, kind.__name__) == ("bdb", "BdbQuit"):
            if not self._is_on:
                raise _nobody("pdb.set_trace()") from None
            raise DebuggerLeftError("the debugger was left") from None

    def _begin(self, *given: Any, **named: Any) -> Any:
        """What ``breakpoint()`` calls."""
        asked = os.environ.get("PYTHONBREAKPOINT", "")
        if asked.startswith("ray.") and asked.endswith("._driver_set_trace"):
            asked = ""  # what Ray leaves in a process that started one: nobody asked for it
        if asked == "0":
            return None
        if asked:
            self._take_terminal(None)
            return sys.__breakpointhook__(*given, **named)
        self._take_terminal("breakpoint()")
        from pdb import Pdb

        Pdb().set_trace(sys._getframe(1))
        return None

    def _take_terminal(self, asked_by: str | None) -> None:
        """Nothing else draws or listens from here on; refused where nobody can answer."""
        if asked_by is not None and _leads_nowhere():
            raise _nobody(asked_by)
        if not self._is_on:
            self._is_on, self._tracing = True, sys.gettrace()
            sys.stdout, sys.stderr = self._streams
            for screen in _screens:
                screen.pause()


def _nobody(asked_by: str) -> InvalidValueError:
    return InvalidValueError(
        f"{asked_by} needs a terminal, and this process has none to read from. Run the "
        "sweep with executor=serial in a terminal, or look at one run with lawsweep "
        "replay RUN_ID --pdb."
    )


def _leads_nowhere() -> bool:
    """Whether this process has nobody to ask: stdin is closed, or /dev/null."""
    if sys.stdin is None or sys.stdin.closed:
        return True
    try:
        return os.path.samestat(os.fstat(sys.stdin.fileno()), os.stat(os.devnull))  # noqa: PTH116
    except (OSError, ValueError, AttributeError):
        return False  # a stream of somebody's, which may answer


def look_at(failure: BaseException) -> bool:
    """A debugger where the experiment's own code failed; False where none of it was running.

    It stands at the innermost frame of that code: ``down`` goes on into the library that raised.
    """
    traceback = failure.__traceback__
    while traceback is not None and _is_between(traceback.tb_frame):
        traceback = traceback.tb_next
    if traceback is None:
        return False
    debugger = _debugger()
    debugger.reset()
    debugger.interaction(None, traceback)
    return True


def _debugger() -> Pdb:
    from pdb import Pdb

    class AtOwnCode(Pdb):
        def get_stack(
            self, f: FrameType | None, t: TracebackType | None
        ) -> tuple[list[tuple[FrameType, int]], int]:
            stack, at = super().get_stack(f, t)
            own = [i for i, (frame, _) in enumerate(stack) if _is_own(frame)]
            if not own:  # an experiment that is installed
                file = stack[0][0].f_code.co_filename
                own = [i for i, (frame, _) in enumerate(stack) if frame.f_code.co_filename == file]
            return stack, own[-1] if own else at

    return AtOwnCode()


def _is_between(frame: FrameType) -> bool:
    """Whether a frame is of what calls experiments."""
    path = Path(frame.f_code.co_filename)
    if not path.is_relative_to(_OURS):
        return False
    return path.relative_to(_OURS).parts[0] not in _ANSWERS


def _is_own(frame: FrameType) -> bool:
    """Whether a frame is of the experiment: neither ours, nor of a library that is installed."""
    path = frame.f_code.co_filename
    if Path(path).is_relative_to(_OURS):
        return not _is_between(frame)
    return not path.startswith(("<frozen", *_INSTALLED))
