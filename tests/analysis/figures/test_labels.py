import pytest
from matplotlib.mathtext import MathTextParser

from lawsweep.analysis.figures import labels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("input_dim**2", "input_dim²"),
        ("width ** 12", "width¹²"),
        ("n_samples / input_dim**2", "n_samples / input_dim²"),
        ("a / (b * c)", "a / (b · c)"),
        ("a - (b - c)", "a − (b − c)"),
        ("(a - b) - c", "a − b − c"),
        ("(a + b)**2", "(a + b)²"),
        ("(-a)**2", "(−a)²"),
        ("-a**2", "−a²"),
        ("sqrt(a / b)", "√(a / b)"),
        ("1/sqrt(n_target*input_dim)", "1 / √(n_target · input_dim)"),
        ("abs(a - b)", "|a − b|"),
        ("min(a, b)", "min(a, b)"),
        ("a**0.5", "a**0.5"),
        ("2**n", "2**n"),
        ("lambda_min", r"$\lambda_{\mathrm{min}}$"),
        ("gamma", r"$\gamma$"),
        ("log10(final_loss)", r"$\log_{10}$ final_loss"),
        ("etable", "etable"),
        ("a if b > 1 else c", "a if b > 1 else c"),
    ],
)
def test_expressions_read_well(text, expected):
    assert labels.pretty(text) == expected


@pytest.mark.parametrize("name", sorted(labels.GREEK))
def test_matplotlib_can_set_every_letter(name):
    drawn = MathTextParser("path").parse(labels.pretty(f"{name}_at_end"))
    assert drawn.width > 0


def test_values_are_short_and_dollars_literal():
    assert labels.value(0.1 + 0.2) == "0.3"
    assert labels.value(1000) == "1000"
    assert labels.value(None) == "none"
    assert labels.value("a$b") == r"a\$b"
