"""A crew does every piece once, whoever takes it, and gives torch's threads back."""

import threading

import numpy as np
import pytest
import torch

from lawsweep.kernels import eigmin_cholesky, networks, ntk, sampling
from lawsweep.kernels.activations import activation
from lawsweep.kernels.crew import Crew


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_every_piece_is_done_once(n_threads):
    done, seen = [0] * 50, set()

    def piece(i):
        done[i] += 1
        seen.add(threading.current_thread())
        assert n_threads == 1 or torch.get_num_threads() == 1

    before, alive = torch.get_num_threads(), threading.active_count()
    with Crew(n_threads) as crew:
        for count in (50, 1, 0):
            done[:] = [0] * 50
            crew.run(lambda i=i: piece(i) for i in range(count))
            assert done == [1] * count + [0] * (50 - count)
    assert torch.get_num_threads() == before
    assert len(seen) <= n_threads
    assert threading.active_count() == alive


def test_threads_work_side_by_side():
    """Two pieces that each wait for the other end only if both are under way."""
    meet = threading.Barrier(2, timeout=20)
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


def test_kernels_do_not_depend_on_the_number_of_threads(monkeypatch, three_threads):
    """Gram to the bit; a factor, whose pieces are of other sizes, to rounding."""
    for name in ("ALONE", "ROWS", "BLOCK"):
        monkeypatch.setattr(eigmin_cholesky, name, 40)
    rng = np.random.default_rng(0)
    x = sampling.rows("gaussian", rng, 300, 30)
    lin = ntk.linearise(x, networks.init_weights((30, 30, 30, 1), rng), activation("tanh"))
    grams, factors = [], []
    for n_threads in (1, 3):
        torch.set_num_threads(n_threads)
        grams.append(ntk.gram(lin, tile=70))
        factor = grams[-1].clone()
        assert eigmin_cholesky.factorise(factor)
        factors.append(factor.tril())
    assert torch.equal(*grams)
    # Higham, theorem 10.3: |L L^T - K| <= gamma_{N+1} max K_ii; twice that between two factors.
    allowed = 301 * 2.0**-53 * float(grams[0].diagonal().max())
    for factor in factors:
        assert float((factor @ factor.mT - grams[0]).abs().max()) <= 2 * allowed
