"""What ntk_min_eig is asked: the network, the data, which kernel, how it is solved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from lawsweep import Field
from lawsweep.core.errors import unknown_name
from lawsweep.experiments.fields import ROW_LAWS, Activation, Precision, Samples, check_choices
from lawsweep.experiments.ntk_min_eig.network import (
    CONJUGATE,
    FULL,
    described,
    hidden_widths,
    kernel_layers,
    layer_betas,
)
from lawsweep.kernels.eigmin import solvers

if TYPE_CHECKING:
    from lawsweep.kernels.network.network import Network

    Solver: TypeAlias = str
else:
    Solver = Literal[(solvers.AUTO, *solvers.names())]

Shape = Literal["rectangle", "pyramid", "bottleneck"]
LAWS = (*ROW_LAWS, "mixture", "correlated", "digits")
FILE = "file:"
SUFFIXES = (".npy", ".parquet", ".csv")
DIGITS_SHAPE = (1797, 64)
# Which law each of these params belongs to, and the value that stands for "not given".
_OWN = {
    "n_clusters": ("mixture", 2),
    "separation": ("mixture", 1.0),
    "covariance_exponent": ("correlated", 1.0),
    "covariance_spectrum": ("correlated", ()),
}


@dataclass(frozen=True, kw_only=True)
class Params:
    """The network, the data, which kernel, and how its eigenvalue is found."""

    n_samples: Samples
    input_dim: Annotated[int, Field("input dimension d = n_0", ge=1)]
    width: Annotated[int, Field("units of the first hidden layer; of all, by default", ge=1)]
    depth: Annotated[int, Field("number of weight matrices L", ge=2)]
    activation: Annotated[
        Activation,
        Field("activation of the hidden layers"),
    ]
    bias: Annotated[bool, Field("biases are parameters too, 0 at initialisation")] = False
    kernel: Annotated[
        str,
        Field(
            "'full', the layers 1..L that count as in '2' or '1+3', or 'conjugate': the features "
            "F F^T of the last hidden layer, without scale"
        ),
    ] = FULL
    data: Annotated[
        str,
        Field(
            "law of the inputs: gaussian, sphere, rademacher, uniform (independent rows of mean 0 "
            "and covariance I), mixture, correlated, digits (each pixel standardised), or "
            "file:PATH of .npy, .parquet or .csv, as it is"
        ),
    ] = "gaussian"
    beta: Annotated[
        float, Field("scale of the weights, W_l ~ N(0, beta^2 / n_{l-1}), W_L ~ N(0, beta^2)", gt=0)
    ] = 1.0
    dtype: Annotated[
        Precision,
        Field("precision; float32 cannot tell a small lambda_min from 0"),
    ] = "float64"
    solver: Annotated[Solver, Field("how lambda_min is found; auto: by size, memory, device")] = (
        "auto"
    )
    widths: Annotated[
        tuple[int, ...],
        Field("units of each hidden layer, the first equal to width; empty: by width and shape"),
    ] = ()
    shape: Annotated[
        Shape,
        Field("hidden widths: all w; pyramid w, w/2, w/4, ...; bottleneck w, w/4, ..., w/4, w"),
    ] = "rectangle"
    betas: Annotated[tuple[float, ...], Field("beta of each layer, 1..L; empty: all are beta")] = ()
    parameterisation: Annotated[
        Literal["standard", "ntk"],
        Field("ntk: W_l = beta_l / sqrt(n_{l-1}) V_l, gradients with respect to V_l ~ N(0, 1)"),
    ] = "standard"
    n_clusters: Annotated[int, Field("clusters of data=mixture, of equal size", ge=1)] = 2
    separation: Annotated[
        float, Field("distance of the mixture's centres from 0, in sd within a cluster", ge=0)
    ] = 1.0
    covariance_exponent: Annotated[
        float, Field("data=correlated: covariance eigenvalues ~ i^-exponent, of mean 1", gt=0)
    ] = 1.0
    covariance_spectrum: Annotated[
        tuple[float, ...], Field("data=correlated: the input_dim eigenvalues themselves")
    ] = ()
    infinite_width_up_to: Annotated[
        int, Field("largest N at which the infinite-width kernel is computed too; 0: never", ge=0)
    ] = 0
    n_lowest: Annotated[int, Field("how many of the lowest eigenvalues to keep", ge=0)] = 0
    full_spectrum: Annotated[bool, Field("keep all eigenvalues, by a dense solve")] = False

    def __post_init__(self) -> None:
        check_choices(self)
        hidden_widths(self.width, self.depth, self.shape, self.widths)
        layer_betas(self.beta, self.betas, self.depth)
        kernel_layers(self.kernel, self.depth)
        _check_data(self)
        if self.conjugate and self.parameterisation != "standard":
            raise ValueError(
                "kernel='conjugate' has no scale, so it is the same in every parameterisation; "
                f"leave it at 'standard', got {self.parameterisation!r}"
            )
        if solvers.needs_rows(self.solver) and (self.n_lowest or self.full_spectrum):
            raise ValueError(
                f"n_lowest and full_spectrum need the matrix, which solver={self.solver!r} never "
                "forms; take solver='auto' or 'dense'"
            )
        if self.n_lowest > self.n_samples:
            raise ValueError(
                f"n_lowest must be at most n_samples={self.n_samples}, got {self.n_lowest}"
            )

    @property
    def network(self) -> Network:
        """The network, and which of it the kernel sees."""
        return described(
            self.input_dim,
            hidden_widths(self.width, self.depth, self.shape, self.widths),
            self.kernel,
            activation=self.activation,
            bias=self.bias,
            betas=layer_betas(self.beta, self.betas, self.depth),
            parameterisation=self.parameterisation,
        )

    @property
    def conjugate(self) -> bool:
        """Whether the kernel is that of the last features."""
        return self.kernel == CONJUGATE


def _check_data(p: Params) -> None:
    """ValueError where ``data`` names nothing, or a param of another law is set."""
    if p.data.startswith(FILE):
        path = p.data.removeprefix(FILE)
        if not path.endswith(SUFFIXES):
            raise ValueError(f"data={p.data!r} must end in {', '.join(SUFFIXES)}; convert the file")
    elif p.data not in LAWS:
        raise unknown_name("data", p.data, [*LAWS, "file:PATH"])
    for name, (law, default) in _OWN.items():
        if p.data != law and getattr(p, name) != default:
            raise ValueError(f"{name} is a param of data={law!r}, got data={p.data!r}; drop it")
    if p.data == "correlated":
        _check_spectrum(p)
    if p.data == "digits" and (p.n_samples > DIGITS_SHAPE[0] or p.input_dim != DIGITS_SHAPE[1]):
        raise ValueError(
            f"data='digits' has {DIGITS_SHAPE[0]} samples of input_dim={DIGITS_SHAPE[1]}, got "
            f"n_samples={p.n_samples} and input_dim={p.input_dim}"
        )


def _check_spectrum(p: Params) -> None:
    spectrum = p.covariance_spectrum
    if not spectrum:
        return
    if p.covariance_exponent != _OWN["covariance_exponent"][1]:
        raise ValueError("covariance_spectrum replaces covariance_exponent; drop one of them")
    if len(spectrum) != p.input_dim or not all(0.0 <= v < float("inf") for v in spectrum):
        raise ValueError(
            f"covariance_spectrum must have input_dim={p.input_dim} finite eigenvalues of 0 or "
            f"more, got {len(spectrum)} of them: {list(spectrum[:8])}"
        )
