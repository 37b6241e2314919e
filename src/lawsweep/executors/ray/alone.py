"""A Ray that we start: strangers are kept out, and it has nothing for people to look at.

It listens on this machine, and asks a token.

Whoever reaches a Ray without a token runs code as its owner.  Ray asks for one by itself from 2.59
on, and keeps it in a file of the home folder; here every Ray that we start has its own, which is
in no file.  From 2.52 on there are tokens at all.

Beside what schedules, ``ray.init`` starts an autoscaler, a monitor of log files and the head of a
dashboard (also where it is told to include none), each a Python of its own; together they are a
third of what a start costs, and it waits for the last of them.  A Ray that a launch starts for
itself has no nodes to add, nobody to print its logs to, and no page.  The agent of a page stays,
which Ray ends without; it does what it does where the libraries of the page are not installed, and
this process need not load them to find out whether they are.
"""

from __future__ import annotations

import importlib
import inspect
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from lawsweep.core.errors import ExecutorError
from lawsweep.core.secrets import learn
from lawsweep.executors.ray.manners import inherited

MODE, TOKEN = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"
WITHOUT = {"no_monitor": True, "include_log_monitor": False}
LIBRARIES = "get_dashboard_dependency_error"  # what it finds missing of them
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


@contextmanager
def lean() -> Iterator[None]:
    """A Ray that is started within has none of these.

    ``ray start`` has switches for two of them, ``ray.init`` none; where a private name has moved,
    they start.
    """
    parameter: Any = importlib.import_module("ray._private.parameter")
    services: Any = importlib.import_module("ray._private.services")
    params: Any = getattr(parameter, "RayParams", None)
    utils: Any = importlib.import_module("ray._private.utils")
    server: Any = getattr(services, "start_api_server", None)
    libraries: Any = getattr(utils, LIBRARIES, None)
    known = set(inspect.signature(params).parameters) if params is not None else set()
    if server is None or libraries is None or not known >= WITHOUT.keys():
        yield
        return
    parameter.RayParams = partial(params, **WITHOUT)
    services.start_api_server = lambda *_, **__: ("", None)  # its URL, and its process
    setattr(utils, LIBRARIES, lambda: ImportError("not wanted"))
    try:
        yield
    finally:
        setattr(utils, LIBRARIES, libraries)
        parameter.RayParams, services.start_api_server = params, server
