"""What Ray starts for people to look at, and the Ray of one launch does without.

Beside what schedules, ``ray.init`` starts an autoscaler, a monitor of log files and the head of a
dashboard (also where it is told to include none), each a Python of its own; together they are a
third of what a start costs, and it waits for the last of them.  A Ray that a launch starts for
itself has no nodes to add, nobody to print its logs to, and no page.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

WITHOUT = {"no_monitor": True, "include_log_monitor": False}


@contextmanager
def lean() -> Iterator[None]:
    """A Ray that is started within has none of these.

    ``ray start`` has switches for two of them, ``ray.init`` none; where a private name has moved,
    they start.
    """
    parameter: Any = importlib.import_module("ray._private.parameter")
    services: Any = importlib.import_module("ray._private.services")
    params: Any = getattr(parameter, "RayParams", None)
    server: Any = getattr(services, "start_api_server", None)
    known = set(inspect.signature(params).parameters) if params is not None else set()
    if server is None or not known >= WITHOUT.keys():
        yield
        return
    parameter.RayParams = partial(params, **WITHOUT)
    services.start_api_server = lambda *_, **__: ("", None)  # its URL, and its process
    try:
        yield
    finally:
        parameter.RayParams, services.start_api_server = params, server
