"""Memory that is kept for the next array: never while anything looks at it, never much of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lawsweep.kernels.base import workspace

LIKE = torch.empty(0, dtype=torch.float64)
ROWS = workspace.SMALLEST // (8 * 1024)  # of 1024 doubles: the least that is kept


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    workspace.release()
    yield
    workspace.release()


def test_memory_is_used_again_once_nothing_refers_to_it() -> None:
    first = workspace.empty(LIKE, (ROWS + 8, 1024))
    first.fill_(1.0)
    place, part = first.data_ptr(), first[3:, 5:].mT
    del first
    assert workspace.kept_bytes() == 0, "a view of it is alive"
    other = workspace.empty(LIKE, (ROWS + 8, 1024)).fill_(2.0)
    assert other.data_ptr() != place
    assert bool((part == 1.0).all())
    del part
    assert workspace.kept_bytes() == (ROWS + 8) * 8 * 1024
    again = workspace.empty(LIKE, (1024, ROWS))  # smaller, another shape
    assert again.data_ptr() == place
    assert again.shape == (1024, ROWS)
    assert again.is_contiguous()
    again.fill_(3.0)
    assert bool((other == 2.0).all())


def test_types_share_the_store() -> None:
    place = workspace.empty(LIKE, (ROWS, 1024)).data_ptr()
    single = workspace.empty(LIKE.float(), (2 * ROWS, 1024))
    assert single.dtype is torch.float32
    assert single.data_ptr() == place


def test_what_does_not_fit_is_let_go_before_more_is_taken() -> None:
    del_me = workspace.empty(LIKE, (ROWS, 1024))
    del del_me
    assert workspace.kept_bytes() > 0
    large = workspace.empty(LIKE, (2 * ROWS, 1024))
    assert workspace.kept_bytes() == 0
    del large
    small = workspace.empty(LIKE, (ROWS, 1024))  # half of what is kept: not worth it
    assert small.numel() == ROWS * 1024
    assert workspace.kept_bytes() == 0


def test_neither_small_nor_huge_arrays_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.empty(LIKE, (ROWS - 1, 1024))
    monkeypatch.setattr(workspace, "LARGEST", workspace.SMALLEST)
    workspace.empty(LIKE, (ROWS + 1, 1024))
    assert workspace.kept_bytes() == 0
    monkeypatch.setattr(workspace, "KEPT", workspace.SMALLEST)
    one, two = (workspace.empty(LIKE, (ROWS, 1024)) for _ in range(2))
    del one, two
    assert workspace.kept_bytes() == workspace.SMALLEST  # the second found the store full


def test_another_device_keeps_its_own_memory() -> None:
    like = torch.empty(0, dtype=torch.float32, device="meta")
    got = workspace.empty(like, (2 * ROWS, 1024))
    assert got.device.type == "meta"
    assert got.dtype is torch.float32
    assert workspace.empty(LIKE, (0, 4)).shape == (0, 4)
