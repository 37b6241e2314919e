"""Activations: values against scalar closed forms, derivatives against autograd."""

import math

import pytest
import torch

from lawsweep.kernels.activations import ACTIVATIONS, LEAKY_SLOPE, activation

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
