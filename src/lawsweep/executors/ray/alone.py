"""What keeps strangers out of a Ray that we start: it listens on this machine, and asks a token.

Whoever reaches a Ray without a token runs code as its owner.  Ray asks for one by itself from 2.59
on, and keeps it in a file of the home folder; here every Ray that we start has its own, which is
in no file.  From 2.52 on there are tokens at all.
"""

from __future__ import annotations

import importlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lawsweep.core.errors import ExecutorError
from lawsweep.core.secrets import learn
from lawsweep.executors.ray.manners import inherited

MODE, TOKEN = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"
_ONE_MACHINE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def ask_token(ray: Any) -> Callable[[], None]:
    """From now on Ray asks for a token of its own; call what this returns when it has stopped.

    Where RAY_AUTH_MODE is set, it is left as it is: somebody has decided.  Raises ExecutorError
    for a Ray without tokens.
    """
    if MODE in os.environ:
        return lambda: None
    raylet: Any = importlib.import_module("ray._raylet")
    loader = getattr(raylet, "AuthenticationTokenLoader", None)
    if loader is None:
        raise ExecutorError(
            f"Ray {getattr(ray, '__version__', '')} lets everybody in who reaches it: it knows no "
            "token. Install ray>=2.52, or use executor=serial."
        )

    def look_again() -> None:
        # Ray reads both once; in a process that has imported it before they are known otherwise.
        raylet.Config.initialize("")
        loader.instance().reset_cache()

    before = os.environ.get(TOKEN)
    os.environ[MODE], os.environ[TOKEN] = "token", secrets.token_hex(32)
    learn(os.environ[TOKEN])
    look_again()

    def undo() -> None:
        os.environ.pop(MODE, None)
        os.environ.pop(TOKEN, None)
        if before is not None:
            os.environ[TOKEN] = before
        look_again()

    return undo


@contextmanager
def on_loopback() -> Iterator[None]:
    """A Ray that is started within listens on 127.0.0.1 alone, all of its processes.

    It takes 127.0.0.1 for an address to be reached from elsewhere, and listens on every interface,
    unless it is told that it is never to be more than one machine.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        with inherited({_ONE_MACHINE: "0"}):
            yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
