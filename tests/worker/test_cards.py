"""What of a failure is the GPU's, and what a neighbour's: by torch's own classes and sentences."""

from __future__ import annotations

import dataclasses
import sys
import types

import pytest
import torch
from toys import fusable

from lawsweep.core.errors import ExecutorError, Infeasible
from lawsweep.core.outcome import Loss, RunSpec, Task
from lawsweep.executors.serial import SerialExecutor
from lawsweep.worker import cards
from lawsweep.worker.cards import CardMemory, befell, card_name, crowded, placed
from lawsweep.worker.execute import Batch

GIB = 2.0**30
ASSERT = (
    "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported "
    "at some other API call, so the stacktrace below might be incorrect.\n"
)


def no_room(wanted, own, others, total=80.0):
    """torch's sentence."""
    return torch.cuda.OutOfMemoryError(
        f"CUDA out of memory. Tried to allocate {wanted:.2f} GiB. GPU 0 has a total capacity of "
        f"{total:.2f} GiB of which {total - own - others:.2f} GiB is free. Process 7 has "
        f"{others:.2f} GiB memory in use. Including non-PyTorch memory, this process has "
        f"{own:.2f} GiB memory in use. Of the allocated memory 1.00 GiB is allocated by PyTorch."
    )


@pytest.mark.parametrize(
    "failure",
    [
        torch.AcceleratorError(ASSERT),
        torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: unspecified launch failure"),
        RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(h)`"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasDgemm`"),
        torch.linalg.LinAlgError("cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR, when calling x"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
        RuntimeError("NCCL Error 1: unhandled cuda error (run with NCCL_DEBUG=INFO for details)"),
    ],
)  # fmt: skip
def test_errors_after_which_a_process_is_of_no_use(failure):
    with placed("GPU 3 of node-1"):
        kind, card, detail = befell(failure, "cuda")
    assert (kind, card) == ("card", "GPU 3 of node-1")
    assert detail == str(failure).splitlines()[0]
    wrapped = ValueError("the solver failed")
    wrapped.__cause__ = failure
    assert befell(wrapped, "cuda").kind == "card"


@pytest.mark.parametrize(
    "failure",
    [
        ValueError("n must be even"),
        RuntimeError("CUDA error: invalid argument"),
        RuntimeError("CUDA error: no kernel image is available for execution on the device"),
        RuntimeError("cusolver error: CUSOLVER_STATUS_INVALID_VALUE, when calling `cusolverDn..`"),
        RuntimeError("an unspecified launch failure of a rocket"),
        torch.linalg.LinAlgError("linalg.cholesky: the matrix is not positive-definite"),
        MemoryError("the host's"),
        no_room(wanted=30.0, own=60.0, others=10.0),
    ],
)
def test_what_is_the_runs_own(failure):
    assert befell(failure, "cuda") is None


def test_memory_that_others_hold_is_told_from_ones_own():
    found = befell(no_room(wanted=30.0, own=10.0, others=60.0), "cuda")
    assert found.kind == "neighbour"
    assert found.detail == "others held 60 GiB of the card's 80, this worker 10"
    with placed("GPU 0", share=0.25):  # 20 GiB of it are this worker's to use, and it wants 40
        assert befell(no_room(wanted=30.0, own=10.0, others=60.0), "cuda") is None
        assert befell(no_room(wanted=5.0, own=10.0, others=64.0), "cuda").kind == "neighbour"
    # Without torch's figures the card is asked; what was wanted may be known to nobody.
    full = CardMemory(80 * GIB, 1 * GIB, 9 * GIB)
    assert "others held 70 GiB" in crowded(full, 1.0)
    assert crowded(full._replace(own=79 * GIB), 1.0) is None
    assert crowded(full, 0.1) is None  # it holds more than its tenth
    assert crowded(CardMemory(80 * GIB, 10 * GIB, 10 * GIB), 0.25) is None  # others: 60 = 3 / 4


def fake_cuda(monkeypatch, *, works=True, free=10 * GIB):
    """torch with a card that is in use by this process."""

    def synchronize(device):
        if not works:
            raise torch.AcceleratorError("CUDA error: something nobody has heard of")

    cuda = types.SimpleNamespace(
        is_initialized=lambda: True,
        synchronize=synchronize,
        mem_get_info=lambda device: (free, 80 * GIB),
        memory_reserved=lambda device: 4 * GIB,
        get_device_name=lambda device: "NVIDIA H100 80GB HBM3",
        reset_peak_memory_stats=lambda device: None,
        max_memory_allocated=lambda device: 3 * 2**30,
        empty_cache=lambda: None,
    )
    fake = types.SimpleNamespace(cuda=cuda, zeros=lambda n, device: torch.zeros(n))
    monkeypatch.setitem(sys.modules, "torch", fake)


def test_a_card_that_does_not_answer_is_lost_whatever_the_failure_says(monkeypatch):
    fake_cuda(monkeypatch)
    assert befell(ValueError("odd"), "cuda:0") is None
    fake_cuda(monkeypatch, works=False)
    assert befell(ValueError("odd"), "cpu") is None
    found = befell(ValueError("odd"), "cuda:0")
    assert found.kind == "card"
    assert found.detail == "it does not answer after ValueError"


def test_a_handle_that_lacks_memory_is_out_of_memory(monkeypatch):
    failure = RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate`")
    fake_cuda(monkeypatch)
    assert befell(failure, "cuda").kind == "card"
    fake_cuda(monkeypatch, free=GIB / 64)
    assert befell(failure, "cuda").kind == "neighbour"  # 76 of 80 GiB are held by others


def test_which_card_it_is(monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "n7")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [card_name(d) for d in ("cpu", "cuda", "cuda:2")] == ["", "GPU 0 of n7", "GPU 2 of n7"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, MIG-ab")
    assert [card_name(d) for d in ("cuda", "cuda:1")] == ["GPU 5 of n7", "GPU MIG-ab of n7"]


def failing(at, failure=None, fused=None):
    def function(params, seed):
        if seed == at:
            raise failure or torch.AcceleratorError(ASSERT)
        return fusable.function(params, seed)

    return dataclasses.replace(fusable, function=function, fused=fused)


def specs(n):
    return tuple(RunSpec(i, str(i), {"n": 1}, i) for i in range(n))


def test_a_batch_ends_with_the_run_that_lost_the_card():
    batch = Batch(failing(1), specs(3), device="cuda:0")
    (first,), (second,) = batch.step(), batch.step()
    assert (first.status, second.status) == ("ok", "failed")
    assert second.error.startswith("AcceleratorError: CUDA error: device-side assert triggered")
    assert second.mishap.kind == "card"
    assert (batch.spoiled.why, batch.spoiled.card) == (Loss.CARD, card_name("cuda:0"))
    # Also where it says that the point has no answer, or where only waiting for the card shows it.
    infeasible = Infeasible("no answer")
    infeasible.__cause__ = torch.AcceleratorError(ASSERT)
    batch = Batch(failing(0, infeasible), specs(1), device="cuda")
    assert batch.step()[0].status == "failed"


def test_what_a_run_leaves_on_the_card_fails_in_that_run(monkeypatch):
    fake_cuda(monkeypatch, works=False)
    batch = Batch(failing(None), specs(2), device="cuda")
    (outcome,) = batch.step()
    assert outcome.status == "failed"
    assert "something nobody has heard of" in outcome.error
    assert batch.spoiled.why is Loss.CARD


def test_a_row_says_which_card_it_was_and_what_it_held_there(monkeypatch):
    fake_cuda(monkeypatch)
    (there,) = Batch(failing(None), specs(1), device="cuda").step()
    assert (there.device_name, there.peak_device_bytes) == ("NVIDIA H100 80GB HBM3", 3 * 2**30)
    (here,) = Batch(failing(None), specs(1)).step()
    assert (here.device_name, here.peak_device_bytes) == (None, None)


def test_a_group_that_lost_the_card_has_no_answer():
    def fused(params, seeds, device):
        raise torch.AcceleratorError(ASSERT)

    batch = Batch(failing(None, fused=fused), specs(4), (3,), device="cuda")
    assert batch.step() == ()
    assert batch.spoiled.why is Loss.CARD_GROUP

    # One member's exception, among answers of the others.
    def some(params, seeds, device):
        found = [fusable.function(p, s) for p, s in zip(params, seeds, strict=True)]
        return [*found[:-1], torch.AcceleratorError(ASSERT)]

    batch = Batch(failing(None, fused=some), specs(3), (3,), device="cuda")
    assert [o.status for o in batch.step()] == ["ok", "ok", "failed"]
    assert batch.spoiled.why is Loss.CARD


def test_in_this_process_it_is_one_sentence():
    made = SerialExecutor(SerialExecutor.Options(device="cuda:0"))
    made.start(failing(1))
    made.submit(Task(0, specs(3)))
    events = made.poll(60)
    assert [o.status for e in events for o in e.outcomes] == ["ok", "failed"]
    with pytest.raises(ExecutorError, match=r"GPU \S+ of .* failed in this process: CUDA error: d"):
        made.poll(60)
    assert made.poll(0) == []
    assert cards.usable("cuda:0")  # no card is in use here at all
