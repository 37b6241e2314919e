"""A Ray cluster of several nodes on this machine, by Ray's own utility, and its end."""

from __future__ import annotations

import contextlib
import time

from lawsweep.executors.ray.alone import lean
from lawsweep.executors.ray.reaper import reap


@contextlib.contextmanager
def local_cluster(**head):
    """A cluster whose head has these resources; more nodes by its ``add_node``.

    Without what Ray starts for people to look at: half of what a head costs, a fourth of a node.
    """
    from ray.cluster_utils import Cluster

    class Patient(Cluster):
        """A node of a busy machine may take its time."""

        def wait_for_nodes(self, timeout=300):
            super().wait_for_nodes(timeout)

        def _wait_for_node(self, node, timeout=300):
            super()._wait_for_node(node, timeout)

    with lean():
        made = Patient(initialize_head=True, head_node_args=head)
        session = made.head_node.get_session_dir_path()
        yield made
        made.shutdown()
    # The agents of a node that was killed take a minute to notice; ours is a quick test.
    end = time.monotonic() + 10
    while reap("", [session]) and time.monotonic() < end:
        time.sleep(0.1)
