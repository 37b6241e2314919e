"""Float32 means float32: settings that reduce products are off within kernels, and put back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lawsweep.core.registry import find_experiment
from lawsweep.kernels import smallest_eigenvalue
from lawsweep.kernels.base import precision
from lawsweep.kernels.base.precision import PrecisionError, full_precision
from lawsweep.kernels.base.rounding import gamma
from lawsweep.kernels.linalg.certificate import cholesky_margin

aten, b = torch.ops.aten, torch.backends
NEW = bool(precision._BACKENDS)  # torch 2.9 and later has a setting for each backend


def state():
    """All of torch's settings that are of account here."""
    fine = (b.fp32_precision, *precision._settings()) if NEW else ()
    return precision._word(), fine, [torch.is_autocast_enabled(d) for d in ("cpu", "cuda")]


@pytest.fixture(autouse=True)
def _as_before():
    before = state()
    yield
    torch.set_autocast_enabled("cpu", False)
    torch.set_autocast_enabled("cuda", False)
    if NEW:
        b.fp32_precision = b.mkldnn.fp32_precision = "none"
        b.cuda.matmul.fp32_precision = b.mkldnn.matmul.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    if NEW:
        b.cuda.matmul.fp32_precision = b.mkldnn.matmul.fp32_precision = "none"
    assert state()[0] == before[0]


USERS = {
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "allow_tf32": lambda: setattr(b.cuda.matmul, "allow_tf32", True),
    "everywhere": lambda: setattr(b, "fp32_precision", "tf32"),
    "mkldnn": lambda: setattr(b.mkldnn.matmul, "fp32_precision", "bf16"),
    "cuda": lambda: setattr(b.cuda.matmul, "fp32_precision", "tf32"),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "autocast_cuda": lambda: torch.set_autocast_enabled("cuda", True),
}
if not NEW:
    for gone in ("everywhere", "mkldnn", "cuda"):
        del USERS[gone]


@pytest.mark.parametrize("user", USERS)
def test_a_users_setting_is_off_within_and_back_after_and_no_claim_is_made_while_it_is_on(user):
    USERS[user]()
    his = state()
    with full_precision():
        assert precision.reduced() is None
        assert gamma(3, torch.float32) > 0.0
        with full_precision():
            pass
        assert precision.reduced() is None
    assert state() == his
    for claim in (lambda: gamma(3, torch.float32), lambda: cholesky_margin(9, 1.0, torch.float32)):
        with pytest.raises(PrecisionError, match=r"expected float32 products in full .*full_prec"):
            claim()
    assert gamma(3, torch.float64) > 0.0  # whose products no setting reduces
    with pytest.raises(ZeroDivisionError), full_precision():
        raise ZeroDivisionError
    assert state() == his


SMALL = {"n_samples": 40, "input_dim": 12, "width": 12, "depth": 3}
CASES = (
    *(
        ("ntk_min_eig", {**SMALL, "activation": "tanh", "solver": s, "dtype": "float32"})
        for s in ("auto", "matrix_free", "cholesky_lanczos")
    ),
    ("ntk_min_eig", {**SMALL, "activation": "relu", "n_lowest": 2, "infinite_width_up_to": 40}),
    ("memorization", {**SMALL, "max_steps": 5, "dtype": "float32"}),
    ("memorization", {**SMALL, "max_steps": 5, "optimizer": "levenberg_marquardt"}),
    ("compression", {"n_target": 20, "input_dim": 5, "n_compressed": 2, "dtype": "float32"}),
)


def run(name, point):
    experiment = find_experiment(name)
    return repr(experiment.function(experiment.params_type(**point), 1, "cpu"))


@pytest.mark.parametrize("user", ["medium", "autocast", "allow_tf32"])
def test_kernels_give_the_same_numbers_whatever_the_user_set(user):
    """Where the processor has bfloat16 products, "medium" would change the third digit."""
    matrix = torch.from_numpy(np.random.default_rng(0).standard_normal((64, 300))).float()
    matrix = matrix @ matrix.mT
    plain = [run(*case) for case in CASES]
    alone = smallest_eigenvalue(matrix, start=np.random.default_rng(1))
    USERS[user]()
    his = state()
    assert [run(*case) for case in CASES] == plain
    assert smallest_eigenvalue(matrix, start=np.random.default_rng(1)) == alone
    assert state() == his


class Products(TorchDispatchMode):
    """A library whose products go another way."""

    def __init__(self, product):
        super().__init__()
        self.product = product

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket is aten.mm:
            return self.product(*args)
        return func(*args, **(kwargs or {}))


def rounded(a, bits):
    """To so many bits of each entry."""
    mantissa, exponent = torch.frexp(a)
    return torch.ldexp((mantissa * 2.0**bits).round() / 2.0**bits, exponent)


def fixed_point(a, bits):
    """To so many bits below each row's largest entry."""
    unit = torch.exp2(torch.frexp(a.abs().amax(-1, keepdim=True))[1] - bits)
    return (a / unit).round() * unit


def reversed_order(a, c):
    return a.flip(1) @ c.flip(0)


def in_parts(a, c):
    return sum(x @ y for x, y in zip(a.split(7, 1), c.split(7), strict=True))


@pytest.mark.parametrize(
    ("dtype", "product"),
    [
        (torch.float32, lambda a, c: rounded(a, 11) @ rounded(c, 11)),  # TF32
        (torch.float32, lambda a, c: rounded(a, 16) @ c),  # two passes of bfloat16
        (torch.float32, lambda a, c: rounded(a, 22) @ c),
        (torch.float64, lambda a, c: (a.float() @ c.float()).double()),
        (torch.float64, lambda a, c: fixed_point(a, 70) @ fixed_point(c.mT, 70).mT),  # emulated
    ],
)
def test_lesser_products_are_seen_by_a_product_whose_answer_is_known(dtype, product):
    precision._prove.cache_clear()
    with pytest.raises(PrecisionError, match="came out otherwise"), Products(product):
        precision._prove("cpu", "cpu", dtype)
    precision._prove.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("product", [torch.matmul, reversed_order, in_parts])
def test_full_products_pass_in_whatever_order_they_are_summed(dtype, product):
    precision._prove.cache_clear()
    with Products(product):
        precision._prove("cpu", "cpu", dtype)
    precision._prove.cache_clear()


class Ops(TorchDispatchMode):
    """What a run asks of torch: names, and types of floating point."""

    def __init__(self):
        super().__init__()
        self.names, self.types = set(), set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.names.add(func.overloadpacket.__name__)
        for t in torch.utils._pytree.tree_leaves((args, kwargs, out)):
            if isinstance(t, torch.Tensor):
                self.types.add(t.dtype)
        return out


def test_kernels_have_no_halves_and_no_convolutions():
    """So the settings for those, which are left alone, reach no number of theirs."""
    with Ops() as asked:
        for case in CASES:
            run(*case)
    assert {"mm", "addmm"} & asked.names
    assert not [n for n in asked.names if "conv" in n or "rnn" in n or "lstm" in n]
    assert not {torch.float16, torch.bfloat16} & asked.types
