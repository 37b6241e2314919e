"""The global random states of a process (Python's, numpy's, torch's), the same before every run.

A fixed state, not the one a run happens to find: what an experiment draws from them unseeded is
then the same on every worker and in every order.  That a draw depends on the run's seed is the
business of named streams (``core.randomness.streams``), or of an experiment that seeds these
itself.
"""

from __future__ import annotations

import _random
import ctypes
import random
import sys
from typing import Any

import numpy as np

SEED = 0x5EED
_global: Any = np.random  # some of its names are public and not exported
_WORDS = 624  # of a Mersenne twister; Python's and numpy's have a place in them besides
_python: Any = random.getstate.__self__  # type: ignore[attr-defined]  # behind random.random()
_fresh_python = random.Random(SEED).getstate()
_fresh_numpy = np.random.RandomState(SEED).get_state(legacy=False)
# Behind np.random while runs are executed, so that the one that was there stays untouched.
_numpy = np.random.MT19937()
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


_python_window = _window(id(_python) + object.__basicsize__, _python_words())
_numpy_window = _window(_numpy.ctypes.state_address, _numpy_words())
_kept: list[Any] = [None, None]  # the bytes of both, once they are as they are to be


def reset() -> None:
    """Set all of them to the state that every run begins with."""
    if _python_window is None or _python_window.raw != _kept[0] or _python.gauss_next is not None:
        random.setstate(_fresh_python)
        _kept[0] = _python_window and _python_window.raw
    if (
        _global.get_bit_generator() is not _numpy
        or _numpy_window is None
        or _numpy_window.raw != _kept[1]
    ):
        _global.set_bit_generator(_numpy)
        np.random.set_state(_fresh_numpy)  # noqa: NPY002
        _kept[1] = _numpy_window and _numpy_window.raw
    torch = sys.modules.get("torch")
    if getattr(torch, "default_generator", None) is not None:  # not half imported
        _reset_torch(torch)


def _reset_torch(torch: Any) -> None:
    if "cpu" not in _fresh_torch:
        _fresh_torch["cpu"] = torch.Generator().manual_seed(SEED).get_state()
    torch.default_generator.set_state(_fresh_torch["cpu"])
    for generator in _cuda(torch):
        if (generator.initial_seed(), generator.get_offset()) != (SEED, 0):
            generator.manual_seed(SEED)


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
