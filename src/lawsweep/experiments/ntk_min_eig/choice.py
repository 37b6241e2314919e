"""Which way a run of ntk_min_eig takes, decided before anything is drawn."""

from __future__ import annotations

from typing import Any

from lawsweep.experiments.batches import SHARE
from lawsweep.experiments.batches import free_bytes as _free_bytes
from lawsweep.experiments.ntk_min_eig.params import Params
from lawsweep.kernels.eigmin import solvers

SMALL_BYTES = 1e9  # what every machine has
ITEM_BYTES = {"float64": 8, "float32": 4}


def chosen_solver(params: Params, device: Any) -> str:
    """``auto`` as it is where K and a factor of it fit ``device``, else one that needs the rows.

    Raises MemoryError where nothing fits.
    """
    from lawsweep.worker.shards import current

    asks_for_matrix = params.n_lowest or params.full_spectrum
    item = ITEM_BYTES[params.dtype]
    # The question costs a system call; a small problem is not worth one.
    small = solvers.matrix_bytes(params.n_samples, item) < SMALL_BYTES
    if params.solver != solvers.AUTO or asks_for_matrix or small:
        return params.solver
    return solvers.choose(
        params.n_samples,
        params.network.widths,
        _room(device),
        itemsize=item,
        n_shards=current().n_shards,
    )


def is_stored(params: Params, solver: str, device: Any) -> bool:
    """Whether a matrix-free solve keeps the network's values (see ``eigmin.solvers.stores``)."""
    from lawsweep.worker.shards import current

    widths, item = params.network.widths, ITEM_BYTES[params.dtype]
    if solvers.matrix_free_bytes(params.n_samples, widths, item) < SMALL_BYTES:
        return True
    n_shards = current().n_shards if solvers.line(solver).sharded else 1
    return solvers.stores(params.n_samples, widths, _room(device), itemsize=item, n_shards=n_shards)


def _room(device: Any) -> float:
    from lawsweep.worker.memory import memory_share

    return SHARE * memory_share() * _free_bytes(device)
