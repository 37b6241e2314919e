"""A Ray cluster of several nodes on this machine, by Ray's own utility, and its end."""

from __future__ import annotations

import contextlib
import time

from lawsweep.executors.ray.reaper import reap


@contextlib.contextmanager
def local_cluster(**head):
    """A cluster whose head has these resources; more nodes by its ``add_node``.

    Its dashboard takes any port that is free: with one of its own Ray would fail, and leave a
    socket open, where another Ray of this machine holds it.
    """
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"dashboard_port": None, **head})
    session = made.head_node.get_session_dir_path()
    yield made
    made.shutdown()
    # The agents of a node that was killed take a minute to notice; ours is a quick test.
    end = time.monotonic() + 10
    while reap("", [session]) and time.monotonic() < end:
        time.sleep(0.1)
