"""The Hydra of whoever calls us: put aside while we compose, and back as it was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def set_aside() -> Iterator[None]:
    """A Hydra of our own within; the caller's objects are not touched, and are back after it.

    Hydra keeps one instance each of what a program composes with, what the job is called and which
    version it behaves as.  A notebook that has one initialised, or a Hydra application that calls
    us, may hold on to any of these objects.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.singleton import Singleton
    from hydra.core.utils import JobRuntime
    from hydra.version import VersionBase

    kinds: tuple[type, ...] = (GlobalHydra, JobRuntime, VersionBase)
    instances = Singleton._instances
    found = {kind: instances.pop(kind) for kind in kinds if kind in instances}
    try:
        yield
    finally:
        for kind in kinds:
            instances.pop(kind, None)
        instances.update(found)


@contextmanager
def stored(nodes: Mapping[tuple[str, str], tuple[Any, str | None]]) -> Iterator[None]:
    """Configs in Hydra's store within: group and name to node and package (None: as the group).

    What others store meanwhile (a module of the user's that is imported) stays.
    """
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    before = {group: store.repo.get(group) for group, _ in nodes}
    for (group, name), (node, package) in nodes.items():
        store.repo[group] = dict(store.repo.get(group) or {})
        store.store(group=group, name=name, node=node, package=package)
    try:
        yield
    finally:
        for group, members in before.items():
            if members is None:
                del store.repo[group]
            else:
                store.repo[group] = members
