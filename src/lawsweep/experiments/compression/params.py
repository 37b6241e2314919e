"""Params of ``compression``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from lawsweep import Field
from lawsweep.experiments.fields import OWN, InputDim, Precision, check_choices
from lawsweep.kernels.activations import ACTIVATIONS, Activation, activation, leaky

C = "arXiv 2205.08199"
# E a of each law of the target's output weights (biased_signs: ``output_bias``).  Where it is 0
# there is no mean-field limit.
MEAN_OUTPUT = {"ones": 1.0, "uniform": 1.0, "gaussian": 0.0, "signs": 0.0}
ISOTROPIC = ("sphere", "gaussian")
FROM_TARGET = ("simplified_target", "simplified_mean", "reduced")
AVERAGED = ("simplified", "simplified_target", "simplified_mean")  # no direction of the target
if TYPE_CHECKING:
    Name: TypeAlias = str
else:  # a linear network is one node
    Name = Annotated[Literal[tuple(a.name for a in ACTIVATIONS.values() if not a.linear)], OWN]
CLOSED_FORM = tuple(a.name for a in ACTIVATIONS.values() if a.closed is not None)
# Params that only one choice of another reads.
_OWNED = (
    ("negative_slope", "activation", "leaky_relu"),
    ("row_density", "target_rows", "sparse"),
    ("output_bias", "target_outputs", "biased_signs"),
    ("n_norm_pairs", "target_norm_method", "sample"),
)


@dataclass(frozen=True, kw_only=True)
class Params:
    """A target (1/N) sum_i a_i sigma(<w_i, x>), x ~ N(0, I_d), and M nodes to fit it with."""

    input_dim: InputDim
    n_target: Annotated[
        int | None, Field("nodes N of the target; null when objective is simplified", ge=1)
    ]
    n_compressed: Annotated[int, Field("nodes M of the compressed network", ge=1)]
    activation: Annotated[
        Name,
        Field(
            "activation; relu, leaky_relu, abs (|z|) and erf in closed form, the others by a "
            "Hermite series",
            source=C,
        ),
    ] = "relu"
    target_rows: Annotated[
        Literal["sphere", "gaussian", "rademacher", "uniform", "sparse"],
        Field("law of the target's rows w_i, of mean 0 and covariance I/d, so |w| is about 1"),
    ] = "sphere"
    centre_rows: Annotated[
        bool, Field("subtract the rows' mean (rows are not normalised again)")
    ] = False
    target_outputs: Annotated[
        Literal["ones", "uniform", "gaussian", "signs", "biased_signs"],
        Field("law of the output weights a_i: 1, U(0, 2), N(0, 1), +-1 or +-1 of output_bias"),
    ] = "ones"
    objective: Annotated[
        Literal["population", "simplified", "simplified_target", "simplified_mean", "reduced"],
        Field(
            "loss against the target (population), or with its directions averaged: simplified "
            "has A = E a|w|, simplified_target this target's A_N, simplified_mean A_N and the "
            "linear term of its mean row m, reduced A_N, m and E_N (degrees 0, 1, 2; derived here)",
            source=C,
        ),
    ] = "population"
    signs: Annotated[
        Literal["auto", "mean", "search"],
        Field(
            "signs of the compressed nodes: mean, all that of sum a_i|w_i|; search, every count "
            "of minus signs; auto, search where the a_i have both signs, else mean"
        ),
    ] = "auto"
    start: Annotated[
        Literal["frame", "random", "reduced"],
        Field(
            "first restart: the ETF that theory suggests (M <= d + 1), or random as the others; "
            "reduced: as frame, and all restarts first minimise the reduced objective, which "
            "costs nothing in N (all then run on the whole target): for large targets"
        ),
    ] = "frame"
    n_restarts: Annotated[
        int | None,
        Field(
            "restarts (of each sign pattern); null: 3 to 48, by risk: M close to or past d + 1, "
            "small N/d, and how far apart the minima found so far lie",
            ge=1,
        ),
    ] = None
    solver: Annotated[
        Literal["auto", "newton", "newton_cg", "lbfgs"],
        Field(
            "trust-region Newton with a dense Hessian or with products, or L-BFGS; auto: dense to "
            "Md = 800, and to 2000 where the target has so many rows that it costs less; products "
            "where the simplified optimum is known (M <= d + 1)"
        ),
    ] = "auto"
    tol: Annotated[
        float | None,
        Field(
            "converged at |gradient| <= tol * sum_i |a_i||w_i|/N; null: 1e-10, but 64 eps "
            "(7.6e-6) in float32, whose gradients are rounding below about eps",
            gt=0,
        ),
    ] = None
    max_iterations: Annotated[int, Field("most trust-region steps", ge=1)] = 300
    target_norm_method: Annotated[
        Literal["exact", "skip", "sample"],
        Field(
            "T_N = E f^2 by its N^2 kernels, not (loss is null), or by random pairs with a "
            "standard error"
        ),
    ] = "exact"
    dtype: Annotated[Precision, Field("precision")] = "float64"
    negative_slope: Annotated[
        float, Field("slope below zero of leaky_relu (no other activation)", ge=-1, lt=1)
    ] = 0.01
    row_density: Annotated[
        float, Field("share of entries of a sparse row that are not 0", gt=0, le=1)
    ] = 0.1
    row_mean: Annotated[
        float, Field("norm of the rows' mean, along (1, ..., 1); 0: mean 0", ge=0)
    ] = 0.0
    normalise_rows: Annotated[
        bool,
        Field(
            "divide each row by its norm, then (centre_rows) subtract the mean: both together "
            "are the setting of the authors' public code",
            source=C,
        ),
    ] = False
    output_bias: Annotated[float, Field("mean of biased_signs", ge=-1, le=1)] = 0.5
    n_outputs: Annotated[int, Field("outputs K of target and student (trained only)", ge=1)] = 1
    student_outputs: Annotated[
        Literal["absorbed", "fixed", "trained"],
        Field(
            "the student's b_j: absorbed in its rows, but for the sign (homogeneous activations); "
            "fixed, all sum_i a_i/(N M); trained, free numbers"
        ),
    ] = "absorbed"
    quadrature_tol: Annotated[
        float,
        Field(
            "a row whose Hermite series may be off by more than this part of |J| is marked as not "
            "converged",
            gt=0,
        ),
    ] = 1e-9
    n_norm_pairs: Annotated[
        int, Field("pairs that target_norm_method sample draws", unit="pairs", ge=2)
    ] = 1_000_000
    prediction: Annotated[
        Literal["first_order", "reduced"],
        Field("reduced: also minimise the reduced objective, from the optimum (reduced_gap)"),
    ] = "first_order"
    compare_frames: Annotated[
        bool,
        Field(
            "also the true loss of frames and the sup-error on the sphere (M <= d + 1, "
            "(M-1) d <= 1000, output signs all equal)"
        ),
    ] = False
    keep_arrays: Annotated[
        bool, Field("keep the matrix of cosines, E_N's spectrum and the rows as arrays")
    ] = False

    def __post_init__(self) -> None:
        check_choices(self)
        if self.objective == "simplified":
            self._check_simplified()
        elif self.n_target is None:
            raise ValueError(
                f"objective {self.objective!r} needs n_target, the nodes of the target"
            )
        elif self.n_compressed > self.n_target:
            raise ValueError(
                f"n_compressed must be at most n_target, got {self.n_compressed} and "
                f"{self.n_target}"
            )
        if self.student_outputs == "absorbed":
            if not self.entry.homogeneous:
                raise ValueError(
                    f"student_outputs 'absorbed' needs a homogeneous activation, got "
                    f"{self.activation!r}; choose trained or fixed"
                )
            if self.n_outputs > 1:
                raise ValueError(
                    f"n_outputs {self.n_outputs} needs student_outputs trained or fixed, got "
                    "'absorbed'"
                )
        else:
            self._check_trained()
        self._check_owned()

    def _check_owned(self) -> None:
        """A param that its choice does not read would give one run a second id."""
        for name, owner, choice in _OWNED:
            value, chosen = getattr(self, name), getattr(self, owner)
            if chosen != choice and value != getattr(Params, name):
                raise ValueError(
                    f"{name} is that of {owner} {choice!r}, got {value} with {chosen!r}; leave it "
                    "out"
                )
        if self.entry.closed is not None and self.quadrature_tol != Params.quadrature_tol:
            raise ValueError(
                f"quadrature_tol is for activations without a closed form, got "
                f"{self.quadrature_tol} with {self.activation!r}; leave it out"
            )

    def _check_simplified(self) -> None:
        drawn = {"row_mean": self.row_mean, "normalise_rows": self.normalise_rows}
        if self.n_target is not None or self.centre_rows:
            raise ValueError(
                "objective 'simplified' averages the target away, so n_target must be null "
                f"and centre_rows false, got {self.n_target} and {self.centre_rows}"
            )
        for name, value in drawn.items():
            if value:
                raise ValueError(
                    f"objective 'simplified' has isotropic rows, got {name} {value}; choose "
                    "simplified_target or simplified_mean"
                )
        if self.prediction != "first_order" or self.compare_frames or self.start == "reduced":
            raise ValueError(
                "objective 'simplified' has no target to compare with; it needs prediction "
                "first_order, compare_frames false and start frame or random"
            )
        if self.mean_output == 0.0:
            raise ValueError(
                f"target_outputs {self.target_outputs!r} has mean 0, where the simplified "
                "objective is least at zero; choose ones or uniform"
            )

    def _check_trained(self) -> None:
        wrong = None
        if self.objective != "population":
            wrong = f"objective population, got {self.objective!r}"
        elif self.solver == "lbfgs" and self.dtype == "float32":
            wrong = "float64 with lbfgs, got 'float32'"
        elif self.target_norm_method == "sample":
            wrong = "target_norm_method exact or skip, got 'sample'"
        elif self.prediction != "first_order" or self.compare_frames:
            wrong = "prediction first_order and compare_frames false"
        elif self.start != "frame" or self.signs != "auto":
            # All their starts are random and their outputs have their own signs.
            wrong = f"start and signs left out, got {self.start!r} and {self.signs!r}"
        if wrong:
            raise ValueError(f"student_outputs {self.student_outputs!r} needs {wrong}")

    @property
    def mean_output(self) -> float:
        """E a."""
        return MEAN_OUTPUT.get(self.target_outputs, self.output_bias)

    @property
    def entry(self) -> Activation:
        """The activation, with the slope asked for."""
        if self.activation == "leaky_relu":
            return leaky(self.negative_slope)
        return activation(self.activation)

    @property
    def slope(self) -> float:
        """Of a homogeneous activation, below zero."""
        below = self.entry.below
        return self.negative_slope if below is None else below
