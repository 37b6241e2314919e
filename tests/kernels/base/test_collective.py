"""Sums that processes make among themselves are those made by way of one of them."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from shard_toys import eigenvalue_problem

from lawsweep.executors.ray.sharded import RayShards
from lawsweep.kernels.base.collective import Group, Meeting, PeerLostError
from lawsweep.kernels.eigmin.block import smallest_eigenvalue_block
from lawsweep.worker.shards import ShardLostError

HOST, CPU = "127.0.0.1", torch.device("cpu")


def members(n, patience_s=60.0):
    """Groups of one, each made in a thread of its own: making waits for the others."""
    meeting = Meeting(HOST)
    with ThreadPoolExecutor(n) as pool:
        places = [meeting, *[meeting.address] * (n - 1)]
        calls = [pool.submit(Group, p, k, n, CPU, patience_s) for k, p in enumerate(places)]
        return [call.result(60) for call in calls]


def test_the_sum_is_the_same_for_all_and_in_place():
    groups = members(3)
    rng = torch.Generator().manual_seed(3)
    parts = [torch.randn(4, 1000, dtype=torch.float64, generator=rng) for _ in groups]
    expected = sum(p.clone() for p in parts)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(Group.add_up, groups, parts))
    for part, one in zip(parts, found, strict=True):
        assert one is part
        assert torch.equal(one, found[0])
        torch.testing.assert_close(one, expected, rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("gone", [True, False])
def test_a_member_that_is_gone_or_hangs_holds_nobody_for_long(gone):
    groups = members(2, patience_s=1.0)
    if gone:
        del groups[1]
    with pytest.raises(PeerLostError, match=r"could not add up within 1 s: one of them is gone"):
        groups[0].add_up(torch.ones(3))


def test_a_member_that_never_comes_is_said():
    with pytest.raises(PeerLostError, match=r"could not meet within 0\.5 s.*shards\.timeout_s"):
        Group(Meeting(HOST, 0.5), 0, 2, CPU, 0.5)


class Lost:
    """A shard whose sum with the others failed."""

    def expand(self):
        raise PeerLostError("one of them is gone")


def test_a_lost_peer_is_a_lost_shard_and_no_failure_of_the_run():
    ray = SimpleNamespace(put=lambda a: a, get=lambda call, timeout=None: call)
    with pytest.raises(ShardLostError, match="one of them is gone"):
        RayShards(ray, Lost(), []).each("expand")


def test_the_meeting_listens_on_one_address_alone():
    meeting = Meeting(HOST)
    host, port = meeting.address
    assert host == HOST
    with socket.create_connection((HOST, port), timeout=10):
        pass
    others = [a[4][0] for a in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    for other in {o for o in others if not o.startswith("127.")}:
        with pytest.raises(OSError, match=r"refused|timed out"):
            socket.create_connection((other, port), timeout=2)


class Together:
    """Shards in threads of this process that add up among themselves, as in several processes."""

    in_process = False
    meet_at = HOST

    def __init__(self, shards):
        self._shards, self.asked = shards, []
        self._pool = ThreadPoolExecutor(len(shards))

    def each(self, method, *args):
        self.asked.append(method)
        return list(self._pool.map(lambda shard: getattr(shard, method)(*args), self._shards))


@pytest.mark.parametrize("n_shards", [2, 3])
def test_an_eigenvalue_by_sums_among_themselves_is_that_by_way_of_one(n_shards):
    problem = eigenvalue_problem(80, 16, 0)
    shards = Together([problem(k, n_shards) for k in range(n_shards)])
    found = smallest_eigenvalue_block(shards, key=0, layers=(1, 2, 3), tol=1e-6)
    alone = smallest_eigenvalue_block(problem.in_process(1), key=0, layers=(1, 2, 3), tol=1e-6)
    assert found.converged
    # A residual of 1e-6 leaves an error of about its square over the relative gap.
    assert found.value == pytest.approx(alone.value, rel=1e-9)
    assert shards.asked.count("expand") > 10
    assert shards.asked.count("transposed") == 1  # of the evidence, which is asked for here
