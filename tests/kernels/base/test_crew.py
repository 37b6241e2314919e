"""A crew does every piece once, whoever takes it, and gives torch's threads back."""

import os
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import Metrics, toy

from lawsweep.core.outcome import RunSpec
from lawsweep.kernels.activations import activation
from lawsweep.kernels.base import crew as crew_module
from lawsweep.kernels.base import devices
from lawsweep.kernels.base.crew import Crew
from lawsweep.kernels.data import sampling
from lawsweep.kernels.linalg import cholesky as eigmin_cholesky
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk import gram as ntk
from lawsweep.kernels.ntk import tiles as ntk_tiles
from lawsweep.kernels.ntk.linearisation import linearise
from lawsweep.worker.deadlines import RunTimeoutError
from lawsweep.worker.execute import execute_run


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def n_present():
    return len(crew_module._helpers._present)


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_every_piece_is_done_once(n_threads):
    done, seen = [0] * 50, set()

    def piece(i):
        done[i] += 1
        seen.add(threading.current_thread())
        assert n_threads == 1 or torch.get_num_threads() == 1

    before, present = torch.get_num_threads(), n_present()
    with Crew(n_threads) as crew:
        for count in (50, 1, 0):
            done[:] = [0] * 50
            crew.run(lambda i=i: piece(i) for i in range(count))
            assert done == [1] * count + [0] * (50 - count)
    assert torch.get_num_threads() == before
    assert len(seen) <= n_threads
    assert n_present() == max(present, n_threads - 1)


def test_threads_work_side_by_side():
    """Two pieces that each wait for the other end only if both are under way."""
    meet = threading.Barrier(2, timeout=300)
    with Crew(2) as crew:
        crew.run([meet.wait, meet.wait])


def test_an_error_ends_the_list_and_nothing_hangs(three_threads):
    later = []

    def fail():
        raise KeyError("piece 3")

    with pytest.raises(KeyError, match="piece 3"), Crew() as crew:
        crew.run([fail, *[lambda: later.append(1)] * 3])
    assert torch.get_num_threads() == 3
    with Crew() as crew:  # a crew after a failed one, and one that failed before and goes on
        with pytest.raises(KeyError):
            crew.run([fail])
        crew.run([lambda: later.append(2)])
    assert later[-1] == 2


def test_a_crew_within_a_piece_is_one_thread(three_threads):
    counts = []

    def inner():
        with Crew() as crew:
            counts.append(crew.n_threads)

    with Crew() as crew:
        crew.run([inner] * 4)
    assert counts == [1] * 4


@pytest.mark.portable
def test_kernels_do_not_depend_on_the_number_of_threads(monkeypatch, three_threads):
    """To rounding; on some processors the Gram to the bit, but that is theirs."""
    for name in ("cholesky_alone", "cholesky_rows", "cholesky_block"):
        monkeypatch.setitem(devices.OVERRIDES, name, 40)
    rng = np.random.default_rng(0)
    x = sampling.rows("gaussian", rng, 300, 30)
    network = Network((30, 30, 30, 1), "tanh")
    lin = linearise(network, init_weights(network, rng), x)
    grams, factors = [], []
    for n_threads in (1, 3):
        torch.set_num_threads(n_threads)
        grams.append(ntk.gram(lin, tile=70))
        factor = grams[-1].clone()
        assert eigmin_cholesky.factorise(factor)
        factors.append(factor.tril())
    # An entry sums products over 91 columns of features and slopes, |K_ij| <= max K_ii.
    size = float(grams[0].diagonal().max())
    assert float((grams[0] - grams[1]).abs().max()) <= 2 * 91 * 2.0**-53 * size
    # Higham, theorem 10.3: |L L^T - K| <= gamma_{N+1} max K_ii; twice that between two factors.
    allowed = 301 * 2.0**-53 * float(grams[0].diagonal().max())
    for factor in factors:
        assert float((factor @ factor.mT - grams[0]).abs().max()) <= 2 * allowed


def test_a_run_cut_off_at_any_line_of_a_crew_harms_no_later_one(three_threads):
    """A time limit raises between any two lines: tried between all of them, one by one."""
    done = []

    def cut_off(params, seed):
        n_lines, tracing = 0, sys.gettrace()

        def trace(frame, event, arg):
            nonlocal n_lines
            if frame.f_code.co_filename != crew_module.__file__:
                return None
            if event == "line":
                n_lines += 1
                if n_lines == params.n:
                    raise RunTimeoutError("here")
            return trace

        sys.settrace(trace)
        try:
            with Crew() as crew:
                crew.run([lambda: done.append(1)] * 4)
        finally:
            sys.settrace(tracing)
        return Metrics(y=0.0, draws=n_lines)

    cut = replace(toy, function=cut_off)
    crew_module._helpers.forget()  # so that the first ones are started under it
    n_lines = 0
    for line in range(1, 500):
        outcome = execute_run(cut, RunSpec(0, "id", {"n": line}, 1))
        assert torch.get_num_threads() == 3, f"line {line}"
        done.clear()
        with Crew() as crew:
            crew.run([lambda: done.append(1)] * 4)
        assert len(done) == 4
        if outcome.status == "ok":
            break
        assert outcome.status == "timeout"
        n_lines += 1
    assert n_lines > 40
    # One that was cut off while it was started may have come too late to be counted.
    assert 2 <= n_present() <= 4


def test_what_ends_the_owner_is_not_hidden_by_a_helpers_error():
    meet, owner = threading.Barrier(2, timeout=300), threading.current_thread()

    def fail():
        meet.wait()
        raise KeyboardInterrupt if threading.current_thread() is owner else KeyError

    with Crew(2) as crew, pytest.raises(KeyboardInterrupt):
        crew.run([fail, fail])
    with Crew(2) as crew:
        crew.run([lambda: None] * 2)  # neither error is left over


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_helpers_compute_in_the_mode_of_their_owner(mode):
    meet, seen = threading.Barrier(2, timeout=300), []

    def piece():
        meet.wait()
        seen.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled()))

    with mode(), Crew(2) as crew:
        crew.run([piece] * 2)
        expected = (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    assert seen == [expected] * 2


def test_where_the_system_has_no_more_threads_the_owner_does_it_all(monkeypatch):
    def none(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(crew_module, "_helpers", crew_module._Helpers())
    monkeypatch.setattr(crew_module, "start_new_thread", none)
    done = []
    with Crew(3) as crew:
        crew.run([lambda i=i: done.append(i) for i in range(5)])
    assert done == list(range(5))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
def test_a_forked_process_has_helpers_of_its_own():
    with Crew(2) as crew:
        crew.run([lambda: None] * 2)
    child = os.fork()
    if child == 0:
        try:
            meet = threading.Barrier(2, timeout=300)
            with Crew(2) as crew:
                crew.run([meet.wait] * 2)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_single_tile_of_a_batch_is_left_to_the_threads_of_torch(monkeypatch, three_threads):
    counts, fill = [], ntk_tiles._fill_tile

    def counting(*given):
        counts.append(torch.get_num_threads())
        fill(*given)

    monkeypatch.setattr(ntk_tiles, "_fill_tile", counting)
    rng = np.random.default_rng(0)
    x = sampling.rows("gaussian", rng, 40, 5)
    weights = init_weights(Network((5, 5, 1), "linear"), rng)
    for batch, tile, expected in ((2, None, [3]), (2, 20, [1] * 3), (0, None, [1])):
        parts = [t.expand(batch, *t.shape).contiguous() if batch else t for t in (x, *weights)]
        counts.clear()
        ntk.gram(
            linearise(Network.of(parts[1:], activation("tanh")), parts[1:], parts[0]), tile=tile
        )
        assert counts == expected
