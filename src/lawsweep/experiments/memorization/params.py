"""The params of memorization; the defaults are the protocol of Fig. 2 of arXiv 2205.10217."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from lawsweep import Field
from lawsweep.experiments.fields import (
    Activation,
    InputDim,
    Precision,
    RowLaw,
    Samples,
    check_choices,
)
from lawsweep.kernels.training import optimisers

if TYPE_CHECKING:
    from lawsweep.kernels.network.network import Network

SOURCE = "arXiv 2205.10217, Fig. 2"
LM = "levenberg_marquardt"

if TYPE_CHECKING:
    Optimizer: TypeAlias = str
else:  # whatever the folder holds
    Optimizer = Literal[(*optimisers.names(), LM)]


@dataclass(frozen=True, kw_only=True)
class Params:
    """One network, its data and its training.  The defaults are the protocol of Fig. 2."""

    n_samples: Samples
    input_dim: InputDim
    width: Annotated[int, Field("units of each hidden layer", ge=1)]
    depth: Annotated[int, Field("number of weight matrices L", ge=1, source=SOURCE)] = 4
    activation: Annotated[Activation, Field("activation of the hidden layers", source=SOURCE)] = (
        "relu"
    )
    data: Annotated[
        RowLaw,
        Field("law of the inputs, rows of mean 0 and covariance I", source=SOURCE),
    ] = "gaussian"
    targets: Annotated[
        Literal["gaussian", "signs", "classes"],
        Field(
            "law of the targets: numbers of variance 1; -1 or +1; or one of n_classes classes, "
            "with an output each",
            source=SOURCE,
        ),
    ] = "gaussian"
    optimizer: Annotated[
        Optimizer,
        Field(
            "full-batch Adam or gradient descent, or Levenberg-Marquardt, which has no learning "
            "rate and stops by itself (stop_rule says nothing of it)",
            source=SOURCE,
        ),
    ] = "adam"
    learning_rate: Annotated[
        float | None, Field("learning rate; null: 1/(10 sqrt(N))", gt=0, source=SOURCE)
    ] = None
    max_steps: Annotated[int, Field("most training steps", unit="steps", ge=1, source=SOURCE)] = (
        10_000
    )
    stop_rule: Annotated[
        Literal["paper", "checks", "none"],
        Field(
            "every 100 steps, end if the loss rose: paper, its sum over 100 steps (the authors' "
            "script); checks, its value; none, never",
            source=SOURCE,
        ),
    ] = "paper"
    target_loss: Annotated[float, Field("end once the loss is at most this", ge=0)] = 0.0
    # No sample is off by more than sqrt(N loss): at 1e-6 and N = 10,000, by a tenth of the
    # targets' standard deviation.  So each sample is fitted, not only most; and float32, whose
    # loss bottoms out near 1e-13, can get there.
    memorized_below: Annotated[
        float,
        Field("best squared loss at or below which the data count as memorized", gt=0),
    ] = 1e-6
    dtype: Annotated[Precision, Field("precision of the training")] = "float64"
    n_classes: Annotated[int, Field("number of classes of targets=classes", ge=2)] = 2
    loss: Annotated[
        Literal["squared", "logistic"],
        Field(
            "mean over samples of the squared error (classes: one-hot coded, summed over outputs) "
            "or of the logistic loss (classes: softmax cross-entropy)"
        ),
    ] = "squared"
    schedule: Annotated[
        Literal["constant", "cosine"],
        Field("learning rate over the steps: constant, or (1 + cos(pi t / max_steps)) / 2 of it"),
    ] = "constant"
    keep_curve: Annotated[bool, Field("keep the losses on the way, beside the row")] = False
    measure_kernel: Annotated[
        bool, Field("compute the NTK before and after training: lambda_min and how far it moved")
    ] = False

    def __post_init__(self) -> None:
        check_choices(self)
        if self.optimizer == LM:
            self._check_least_squares()
        if self.loss == "logistic" and self.targets == "gaussian":
            raise ValueError(
                "loss='logistic' needs targets that are classes, got targets='gaussian'; take "
                "'signs' or 'classes', or loss='squared'"
            )
        if self.n_classes != 2 and self.targets != "classes":
            raise ValueError(
                f"n_classes={self.n_classes} is a param of targets='classes', got "
                f"targets={self.targets!r}; drop it"
            )
        if self.measure_kernel and self.targets == "classes":
            raise ValueError(
                "measure_kernel is of a network with one output, got targets='classes'; take "
                "targets='signs' for two classes"
            )

    def _check_least_squares(self) -> None:
        if self.learning_rate is not None or self.schedule != "constant":
            raise ValueError(
                f"optimizer={LM!r} has no learning rate, got learning_rate={self.learning_rate!r} "
                f"and schedule={self.schedule!r}; leave both out"
            )
        if self.loss != "squared" or self.targets == "classes":
            raise ValueError(
                f"optimizer={LM!r} fits one output by least squares, got loss={self.loss!r} and "
                f"targets={self.targets!r}; take loss='squared' and other targets, or "
                "optimizer='adam'"
            )

    @property
    def network(self) -> Network:
        """The network: one output, or one a class."""
        from lawsweep.kernels.network.network import Network

        hidden = (self.width,) * (self.depth - 1)
        outputs = self.n_classes if self.targets == "classes" else 1
        return Network((self.input_dim, *hidden, outputs), self.activation)
