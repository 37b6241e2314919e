"""What a Ray worker does with a task: execute its runs and stream their outcomes back."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator

from lawsweep.core.experiment import Experiment
from lawsweep.core.outcome import Loss, Lost, Outcome, RunSpec
from lawsweep.executors.ray import sharded
from lawsweep.executors.ray.cards import Began
from lawsweep.executors.ray.early import teller
from lawsweep.executors.ray.options import ShardOptions
from lawsweep.worker import cards
from lawsweep.worker.execute import Batch
from lawsweep.worker.process_state import ProcessState
from lawsweep.worker.reporting import reports

RETIRED_S = 60.0  # a worker that asked to be ended waits so long for it, and then ends by itself


def run_batch(
    experiment: Experiment,
    runs: tuple[RunSpec, ...],
    groups: tuple[int, ...],
    timeout_s: float | None,
    device: str,
    shards: ShardOptions | None = None,
    memory_share: float = 1.0,
    avoid: tuple[str, ...] = (),
    early: str = "",
) -> Iterator[tuple[Outcome, ...] | Lost | Began]:
    """Say that it began, then execute and report, also at the place ``early`` of the launch.

    A loss instead of outcomes says why this process is to be ended, and is the last.
    """
    card, share = _card(device)
    if card and (card in avoid or not cards.bind()):
        yield Began(card, turned_away=card in avoid, stale=card not in avoid)
        _hold()
    yield Began(card)
    with sharded.installed(shards), cards.placed(card, share):
        # Who shares a card plans with a part of what is free there: the others come to want theirs.
        share *= memory_share
        batch = Batch(experiment, runs, groups, device, timeout_s, share)
        experiment.load()  # what it sets when it is imported holds for all runs
        yield from reports(batch, ProcessState(), teller(early))
        cards.bind()
        if batch.spoiled is not None:
            # Ended by the executor once it has read that, and not by returning: the last outcomes
            # might go down with the process.
            yield batch.spoiled
            if batch.spoiled.why in (Loss.CARD, Loss.CARD_GROUP):
                _hold()
            time.sleep(RETIRED_S)
            os._exit(1)


def _card(device: str) -> tuple[str, float]:
    """The GPU that Ray gave this task, by a name that no other has, and its share of that."""
    if not device.startswith("cuda"):
        return "", 1.0
    import ray

    here = ray.get_runtime_context()
    share = float(here.get_assigned_resources().get("GPU", 1.0))
    which = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    name = f"GPU {which} of {platform.node()} (Ray node {str(here.get_node_id())[:8]})"
    return name, min(1.0, share)


def _hold() -> None:
    """Keep the GPU from others until the executor ends this process, or Ray does with the driver.

    What the process holds on the card stays too: after such an error nothing can be given back.
    """
    while True:
        time.sleep(RETIRED_S)
