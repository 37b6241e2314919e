"""The global random states of a process (Python's, numpy's, torch's), the same before every run.

A fixed state, not the one a run happens to find: what an experiment draws from them unseeded is
then the same on every worker and in every order.  That a draw depends on the run's seed is the
business of named streams (``core.randomness.streams``), or of an experiment that seeds these
itself.

A run that drew unseeded got the same numbers whatever its seed, which is hardly what it means:
``reset`` says which generators it drew from.  A run that seeded one is not at fault, and this is
told by what seeding leaves behind: torch's generator and numpy's know that they were seeded; a
Mersenne twister that was only drawn from is in a state that the fixed one comes to after some
draws, and one that was seeded is not.
"""

from __future__ import annotations

import _random
import ctypes
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

SEED = 0x5EED
_global: Any = np.random  # some of its names are public and not exported
_WORDS = 624  # of a Mersenne twister; Python's and numpy's have a place in them besides
_python: Any = random.getstate.__self__  # type: ignore[attr-defined]  # behind random.random()
_fresh_python = random.Random(SEED).getstate()
_fresh_numpy = np.random.RandomState(SEED).get_state(legacy=False)
# Behind np.random while runs are executed, so that the one that was there stays untouched.
_numpy: Any = np.random.MT19937()
_fresh_torch: dict[str, Any] = {}


def _window(address: int, words: np.ndarray | None) -> Any:
    """The bytes at ``address``, 4 * 625 of them, if they are what the generator says; else None.

    To copy a state through its public form takes longer than many a run; to compare 2.5 kB does
    not.  Where another interpreter keeps it elsewhere, the public form is asked.
    """
    if words is None:
        return None
    window = (ctypes.c_char * (4 * (_WORDS + 1))).from_address(address)
    return window if np.array_equal(np.frombuffer(window.raw, np.uint32), words) else None


def _python_words() -> np.ndarray | None:
    _, words, _ = random.getstate()
    if _random.Random.__basicsize__ < object.__basicsize__ + 4 * (_WORDS + 1):
        return None
    return np.array([words[-1], *words[:-1]], dtype=np.uint32)  # its place comes first


def _numpy_words() -> np.ndarray:
    state: Any = _numpy.state
    return np.array([*state["state"]["key"], state["state"]["pos"]], dtype=np.uint32)


class _Orbit:
    """The states that a Mersenne twister comes to by draws alone, from a fresh one.

    Its words change a block at a time, once in 624 draws of 32 bits.  So many blocks ahead are
    looked at, 5 us each: fewer each time that it was for nothing.
    """

    FAR, NEAR = 2048, 4

    def __init__(self, words: np.ndarray):
        self._fresh = {"key": words, "pos": _WORDS}
        self._walker: Any = np.random.MT19937(0)
        self._window = (ctypes.c_char * (4 * _WORDS)).from_address(
            self._walker.ctypes.state_address
        )
        self._most = self.FAR

    def has(self, words: bytes) -> bool:
        """Whether a generator with these words was drawn from, and not seeded."""
        walker = self._walker
        walker.state = {"bit_generator": "MT19937", "state": self._fresh}
        if self._window.raw == words:
            return False  # seeded as the fresh one is, or its place alone was set
        walker.random_raw(1, output=False)
        for n in range(self._most):
            if self._window.raw == words:
                self._most = max(self._most, min(self.FAR, 2 * n))
                return True
            walker.random_raw(_WORDS, output=False)
        self._most = max(self.NEAR, self._most // 2)
        return False


_pythons_orbit = _Orbit(np.array(_fresh_python[1][:-1], dtype=np.uint32))
_numpys_orbit = _Orbit(np.asarray(_fresh_numpy["state"]["key"], dtype=np.uint32))
_python_window = _window(id(_python) + object.__basicsize__, _python_words())
_numpy_window = _window(_numpy.ctypes.state_address, _numpy_words())
_kept: list[Any] = [None, None]  # the bytes of both, once they are as they are to be
_lock = threading.Lock()
_inside, _calls, _seen = 0, 0, 0  # of others' code beside runs: now, so far, at the last reset


@contextmanager
def beside() -> Iterator[None]:
    """Around others' code in another thread of a process that executes runs.

    Whose a draw was cannot be told then: it is not said to be a run's.
    """
    global _inside, _calls
    with _lock:
        _inside, _calls = _inside + 1, _calls + 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1


def reset(*, look: bool = True) -> tuple[str, ...]:
    """Set all of them to the state that every run begins with.

    Returns the names of those that a run drew from since the last call without seeding them;
    without ``look``, after what was no run, none.
    """
    global _seen
    drew: tuple[str, ...] = ()
    look = look and not _inside and _calls == _seen
    _seen = -1 if _inside else _calls  # one that is under way may draw during the next
    if _python_window is None or _python_window.raw != _kept[0] or _python.gauss_next is not None:
        if look and _python_window is not None and _kept[0] is not None:
            raw = _python_window.raw  # its place comes first
            drew += ("random",) if _pythons_orbit.has(raw[4:]) else ()
        random.setstate(_fresh_python)
        _kept[0] = _python_window and _python_window.raw
    if (
        _global.get_bit_generator() is not _numpy
        or _numpy_window is None
        or _numpy_window.raw != _kept[1]
        or _numpy.seed_seq is None
    ):
        if look and _numpy_window is not None and _kept[1] not in (None, _numpy_window.raw):
            drew += ("numpy.random",) if _numpy_drew() else ()
        if _numpy.seed_seq is None:
            _numpy_anew()
        _global.set_bit_generator(_numpy)
        np.random.set_state(_fresh_numpy)  # noqa: NPY002
        _kept[1] = _numpy_window and _numpy_window.raw
    torch = sys.modules.get("torch")
    if getattr(torch, "default_generator", None) is not None:  # not half imported
        drew += ("torch",) if _reset_torch(torch) and look else ()
    return drew


def _numpy_drew() -> bool:
    """Whether numpy's generator, whose state is not the fresh one, was drawn from unseeded."""
    return _numpy.seed_seq is not None and _numpys_orbit.has(_numpy_window.raw[:-4])


def _numpy_anew() -> None:
    """Another generator behind np.random: seeding takes its sequence away, and none can be given.

    That it is gone is how a run is known to have seeded.
    """
    global _numpy, _numpy_window
    _numpy = np.random.MT19937(0)
    _numpy_window = _window(_numpy.ctypes.state_address, _numpy_words())


def _reset_torch(torch: Any) -> bool:
    """Whether its generators, that of the CPU or one of a GPU, were drawn from unseeded."""
    own, drew = torch.default_generator, False
    if "cpu" not in _fresh_torch:
        _fresh_torch["cpu"] = torch.Generator().manual_seed(SEED).get_state()
        _fresh_torch["bytes"] = _fresh_torch["cpu"].numpy().tobytes()
        own.set_state(_fresh_torch["cpu"])  # it was loaded since: whatever it had is its own
    elif own.get_state().numpy().tobytes() != _fresh_torch["bytes"]:
        drew = own.initial_seed() == SEED
        own.set_state(_fresh_torch["cpu"])
    for generator in _cuda(torch):
        seed, offset = generator.initial_seed(), generator.get_offset()
        if (seed, offset) != (SEED, 0):
            drew |= seed == SEED and offset > 0  # unverified on a card
            generator.manual_seed(SEED)
    return drew


def _cuda(torch: Any) -> tuple[Any, ...]:
    """The generators of devices that are in use."""
    cuda = getattr(torch, "cuda", None)
    return tuple(cuda.default_generators) if cuda is not None and cuda.is_initialized() else ()


def save() -> tuple[Any, ...]:
    """All of them as they are, for ``give_back``."""
    torch = sys.modules.get("torch")
    theirs: list[tuple[Any, Any]] = []
    if getattr(torch, "default_generator", None) is not None:
        assert torch is not None
        theirs = [(g, g.get_state()) for g in (torch.default_generator, *_cuda(torch))]
    numpys = np.random.get_state(legacy=False)  # noqa: NPY002
    return random.getstate(), _global.get_bit_generator(), numpys, theirs


def give_back(saved: tuple[Any, ...]) -> None:
    """Set them to what ``save`` found."""
    pythons, generator, numpys, theirs = saved
    random.setstate(pythons)
    _global.set_bit_generator(generator)
    np.random.set_state(numpys)  # noqa: NPY002
    for each, state in theirs:
        each.set_state(state)
