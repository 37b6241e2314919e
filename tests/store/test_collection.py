import gc
from collections.abc import Iterator

import pytest

from lawsweep.store.table.collection import no_collection, set_aside


@pytest.fixture(autouse=True)
def nothing_frozen() -> Iterator[None]:
    """The session's own frozen objects would make ``set_aside`` stand back."""
    gc.unfreeze()
    yield
    gc.freeze()


def test_what_there_is_stays_out_of_collections_until_the_end() -> None:
    with set_aside():
        assert gc.get_freeze_count() > 1000
    assert gc.get_freeze_count() == 0


def test_after_an_error_too() -> None:
    with pytest.raises(KeyboardInterrupt), set_aside():
        raise KeyboardInterrupt
    assert gc.get_freeze_count() == 0


def test_what_the_caller_has_frozen_stays_frozen() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    with set_aside():
        assert gc.get_freeze_count() == frozen
    assert gc.get_freeze_count() == frozen
    gc.unfreeze()


def test_garbage_of_the_context_is_collected_in_it() -> None:
    class Node:
        pass

    with set_aside():
        node = Node()
        node.itself = node  # type: ignore[attr-defined]
        del node
        assert gc.collect() > 0


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_it_was_afterwards(enabled: bool) -> None:
    try:
        if not enabled:
            gc.disable()
        with no_collection():
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
