"""Activations: values against scalar closed forms, slopes and traits against what f does."""

import math
import subprocess
import sys

import pytest
import torch
from reference_infinite import dual_pair

from lawsweep.core.registry import find_experiment
from lawsweep.kernels.activations import ACTIVATIONS, LEAKY_SLOPE, activation
from lawsweep.kernels.compression.norm import choose_degree

# Both signs, the kink, the tails, and the range where torch's softplus switches to a line.
POINTS = torch.tensor(
    [-40.0, -21.0, -6.0, -1.7, -0.3, -1e-9, 0.0, 1e-9, 0.4, 1.3, 5.0, 19.9, 20.1, 25.0, 40.0],
    dtype=torch.float64,
)
SCALAR = {
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else LEAKY_SLOPE * x,
    "sigmoid": lambda x: 1.0 / (1.0 + math.exp(-x)),
    "tanh": math.tanh,
    "gelu": lambda x: 0.5 * x * math.erfc(-x / math.sqrt(2.0)),
    "silu": lambda x: x / (1.0 + math.exp(-x)),
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    "erf": math.erf,
    "abs": abs,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "linear": lambda x: x,
}


def test_every_activation_is_covered():
    assert set(SCALAR) == set(ACTIVATIONS)
    assert all(name == a.name for name, a in ACTIVATIONS.items())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_match_the_scalar_formula(name):
    expected = torch.tensor([SCALAR[name](float(x)) for x in POINTS], dtype=torch.float64)
    # exp and erfc are good to a few units in the last place, amplified by |x| <= 40 (exp(-40)).
    torch.testing.assert_close(activation(name).f(POINTS), expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_matches_autograd(name):
    x = POINTS.clone().requires_grad_(True)
    (grad,) = torch.autograd.grad(activation(name).f(x).sum(), x)
    # 1 - t^2 and 1 - s cancel: absolute errors of a few 1e-16 on derivatives of size 1.
    torch.testing.assert_close(activation(name).df(POINTS), grad, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_dtype_and_shape_are_kept(name, dtype):
    x = POINTS.to(dtype).reshape(3, 5)
    for function in (activation(name).f, activation(name).df):
        assert function(x).dtype == dtype
        assert function(x).shape == x.shape


def test_leaky_slope_is_exact_in_float64():
    x = torch.tensor([-1.0], dtype=torch.float64)
    assert float(activation("leaky_relu").df(x)) == LEAKY_SLOPE


def test_unknown_name_lists_the_valid_ones():
    with pytest.raises(
        ValueError,
        match=r"unknown activation 'rulu'; valid: abs, elu, .*, tanh; did you mean 'relu'",
    ):
        activation("rulu")


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_slope_from_the_value_is_the_derivative_to_the_bit(name, dtype):
    act, x = activation(name), POINTS.to(dtype)
    assert torch.equal(act.slope(x, act.f(x)), act.df(x))


GRID = torch.linspace(-4.0, 4.0, 80_001, dtype=torch.float64)  # a step of 1e-4, 0 among its nodes


@pytest.mark.parametrize("act", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_the_slope_is_that_of_finite_differences(act):
    h = 1e-5
    x = torch.cat([GRID[:-1:97], GRID[1::89]]) + 0.31e-4  # never within h of 0
    steps = (act.f(x + h) - act.f(x - h)) / (2.0 * h)
    # h^2 / 6 of the third derivative (at most 10), and rounding: eps of the value, 4, over h.
    torch.testing.assert_close(act.df(x), steps, rtol=0, atol=2e-9 + 4e-16 * 4.0 / h)


def jumps(values, places, bound):
    """Where a function on a grid changes by more than ``bound`` in a step, joined to places."""
    far = (values[1:] - values[:-1]).abs() > bound
    return sorted({round(float(x), 3) + 0.0 for x in places[:-1][far]})


@pytest.mark.parametrize("act", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_kinks_and_creases_are_where_the_entry_says_and_nowhere_else(act):
    step = 1e-4
    slopes = act.df(GRID)
    # Smooth slopes change by 1e-4 of the second derivative (at most 2) in a step.
    assert jumps(slopes, GRID, 1e-2) == sorted(act.kinks)
    if not act.kinks:
        bends = (slopes[1:] - slopes[:-1]) / step
        assert jumps(bends, GRID[:-1], 1e-1) == sorted(act.creases)


@pytest.mark.parametrize("act", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_parity_and_homogeneity_are_what_the_entry_says_and_no_less(act):
    x = GRID[::499]
    value, mirrored = act.f(x), act.f(-x)
    parity = None
    if torch.allclose(mirrored, value, rtol=1e-13, atol=1e-15):
        parity = "even"
    elif torch.allclose(mirrored, -value, rtol=1e-13, atol=1e-15):
        parity = "odd"
    assert act.parity == parity
    slope, opposite = act.df(x), act.df(-x)
    if parity is not None:  # at a kink too: what is said of antipodal samples rests on it
        assert torch.equal(opposite, slope if parity == "odd" else -slope)
    scales = torch.allclose(act.f(3.0 * x), 3.0 * value, rtol=1e-13, atol=1e-15)
    assert act.homogeneous == scales
    if act.below is not None:
        expected = x.clamp(min=0.0) + act.below * x.clamp(max=0.0)
        torch.testing.assert_close(value, expected, rtol=1e-15, atol=0)
        torch.testing.assert_close(slope * x, value, rtol=1e-15, atol=0)
    assert act.linear == torch.equal(value, x)
    off = bool((value[x < 0] == 0).all()) and bool((slope[x < 0] == 0).all())
    assert act.rectifies == off
    pieces = torch.equal(value > 0, x > 0) and bool(act.kinks)
    assert act.tells_region == pieces


@pytest.mark.parametrize("act", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_its_profile_is_the_expectation_of_a_pair(act):
    """Closed or by a series: E f(u) f(v) at cosines and two norms, against a quadrature."""
    norms, rho = torch.tensor([0.6, 1.1], dtype=torch.float64), [-0.9, -0.3, 0.0, 0.5]
    profile = choose_degree(act, norms, 1e-13) if act.closed is None else act.closed()
    sides = profile.side(norms)
    for cosine in rho:
        at = torch.full((1, 1), cosine, dtype=torch.float64)
        found = profile.pairs(at, sides[:1], sides[1:], second=True)
        s, t = norms.tolist()
        expected = dual_pair(act.name, s * s, t * t, cosine * s * t)
        assert float(found.f) == pytest.approx(expected[0], abs=1e-9)
        # d/d rho of E f(u) f(v) is s t E f'(u) f'(v).
        assert float(found.r) == pytest.approx(s * t * expected[1], abs=1e-7)
    own = profile.own(norms)[0]
    for norm, value in zip(norms.tolist(), own.tolist(), strict=True):
        square = dual_pair(act.name, norm * norm, norm * norm, norm * norm)[0]
        assert value == pytest.approx(square, abs=1e-9)


@pytest.mark.parametrize("act", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_closed_moments_are_means_over_a_normal(act):
    moments = act.closed().moments if act.closed is not None else lambda c, s: None
    c, s = torch.tensor([-0.7, 0.0, 0.4], dtype=torch.float64), 0.9
    found = moments(c, s)
    assert (found is None) == (act.closed is None or not act.kinked)
    if found is None:
        return
    z = torch.linspace(-9.0, 9.0, 180_001, dtype=torch.float64)
    weight = torch.exp(-0.5 * z * z) * 1e-4 / math.sqrt(2.0 * math.pi)
    g = c.unsqueeze(1) + s * z
    for one, values in zip(
        found, (act.f(g), act.f(g) ** 2, act.df(g), act.df(g) ** 2), strict=True
    ):
        # A sum of step 1e-4 is off by up to half a step of a jump of 1 or 2, times the density.
        torch.testing.assert_close(one, values @ weight, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["ntk_min_eig", "memorization", "ntk_memorization", "compression"])
def test_every_experiment_offers_every_activation(name):
    params = find_experiment(name).params
    (spec,) = [s for s in params if s.name == "activation"]
    offered = {a.name for a in ACTIVATIONS.values() if not (name == "compression" and a.linear)}
    assert set(spec.choices) == offered
    assert spec.own is not None


def test_the_table_costs_no_torch():
    code = (
        "import sys; from lawsweep.kernels.activations import ACTIVATIONS; "
        "print([a.name for a in ACTIVATIONS.values() if a.kinked], 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "['relu', 'leaky_relu', 'abs'] False"
