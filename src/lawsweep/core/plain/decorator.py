"""``@experiment``: an Experiment of a function, checked where it is defined."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from lawsweep.core.cost import Cost
from lawsweep.core.definition import Carry, check_carries, check_fused, check_names
from lawsweep.core.errors import unknown_name
from lawsweep.core.experiment import Experiment
from lawsweep.core.expressions.expression import Expression
from lawsweep.core.plain.annotations import (
    BESIDE,
    arguments,
    field_specs,
    hints_of,
    is_data,
    returned,
)
from lawsweep.core.plain.returns import check_returns
from lawsweep.core.schema import FieldSpec

M = TypeVar("M")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


class Arguments:
    """A plain function's arguments, as attributes."""

    def __init__(self, **values: Any):
        self.__dict__.update(values)

    def __repr__(self) -> str:
        return f"Arguments({', '.join(f'{n}={v!r}' for n, v in vars(self).items())})"


@dataclass(frozen=True)
class _Shape:
    """What a function takes and gives."""

    params_type: type
    params: tuple[FieldSpec, ...]
    metrics_type: type
    metrics: tuple[FieldSpec, ...]
    learns: bool
    spread: bool
    takes_seed: bool
    takes_device: bool


@overload
def experiment(function: Callable[..., M], /) -> Experiment[M]: ...


@overload
def experiment(
    *,
    version: int = 1,
    name: str | None = None,
    constraints: Sequence[str] = (),
    cost: Callable[[Any], Cost] | None = None,
    reference: str = "",
    fused: Callable[..., Any] | None = None,
    fuse_over: Sequence[str] = (),
    imports: Sequence[str] = (),
    carries: Mapping[int, str | Carry] | None = None,
) -> Callable[[Callable[..., M]], Experiment[M]]: ...


def experiment(
    function: Any = None,
    /,
    *,
    version: int = 1,
    name: str | None = None,
    constraints: Sequence[str] = (),
    cost: Callable[[Any], Cost] | None = None,
    reference: str = "",
    fused: Callable[..., Any] | None = None,
    fuse_over: Sequence[str] = (),
    imports: Sequence[str] = (),
    carries: Mapping[int, str | Carry] | None = None,
) -> Any:
    """Decorator: make an Experiment of a function; with brackets and without.

    Of ``(params: Params, seed[, device]) -> Metrics`` the two dataclasses have the fields.  Of any
    other function the arguments, with annotations and defaults, are the params, and what it returns
    the metrics: a dict, a number (``value``) or a dataclass; ``seed`` and ``device`` are passed to
    one that has such an argument.  Metrics that no annotation tells of are learnt from the rows.

    Fields are read off the annotations.  ``version`` is raised whenever the meaning
    of a row changes (a default, a formula): it is part of every run id.  ``constraints`` are
    expressions such as ``"n_compressed <= n_target"``.  ``cost`` is called with an object whose
    attributes are the params as arrays over many points and returns a Cost of arrays.

    ``fused(params, seeds, device)`` gets a sequence of Params and one of seeds, and returns as
    many Metrics in that order; an Exception in place of one is that run's failure (Infeasible its
    answer).  Its runs agree in all params but ``fuse_over`` (real numbers), and each answer must
    be what ``function`` gives for it, to 1e-9; in metrics marked ``chaotic`` as rounding has it.
    If it raises, its runs are done one by one.

    What ``function`` and its module's other functions import in their bodies (so that planning
    need not) a worker imports before its first run, whose ``wall_s`` is then that of the run;
    ``imports`` names modules that are imported elsewhere on its way.

    ``carries`` says of older versions which of their rows a new version left as they were, such as
    ``{1: "activation != 'relu' or input_dim > 1"}``: a condition over params, metrics and
    circumstances, or a Carry where a default changed.  Those rows can be carried over (``lawsweep
    import SWEEP --from-version 1``); the others are computed again.

    Raises TypeError, at definition, for what could not become a table.
    """
    options = _Options(
        version, name, constraints, cost, reference, fused, fuse_over, imports, carries or {}
    )
    if function is None:
        return functools.partial(make_experiment, options=options)
    if not callable(function):
        raise TypeError(
            f"@experiment is written with names, as @experiment(version=1), got {function!r}."
        )
    return make_experiment(function, options)


@dataclass(frozen=True)
class _Options:
    version: int = 1
    name: str | None = None
    constraints: Sequence[str] = ()
    cost: Callable[[Any], Cost] | None = None
    reference: str = ""
    fused: Callable[..., Any] | None = None
    fuse_over: Sequence[str] = ()
    imports: Sequence[str] = ()
    carries: Mapping[int, str | Carry] | None = None


def make_experiment(
    function: Callable[..., Any], options: _Options, *, loose: bool = False
) -> Experiment[Any]:
    """See ``experiment``; ``loose``: arguments without annotation are numbers.

    Raises TypeError for what could not become a table.
    """
    version, constraints, imports = options.version, options.constraints, options.imports
    chosen = options.name or str(getattr(function, "__name__", type(function).__name__))
    if not _NAME.match(chosen):
        raise TypeError(f"{chosen!r} is no experiment name; use letters, digits and _.")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise TypeError(f"{chosen}: version must be an integer from 1, got {version!r}.")
    shape = _shape(function, loose=loose)
    params, metrics = shape.params, shape.metrics
    if isinstance(constraints, str):
        raise TypeError(f"{chosen}: constraints is a list of expressions, got {constraints!r}.")
    if isinstance(imports, str) or not all(isinstance(m, str) for m in imports):
        raise TypeError(f"{chosen}: imports is a list of modules' names, got {imports!r}.")
    check_names(chosen, params, metrics)
    if shape.learns:
        check_returns(chosen, function, tuple(s.name for s in params))
    over = check_fused(chosen, options.fused, options.fuse_over, params)
    large = [s.name for s in params if s.kind == "array"]
    if large:
        raise TypeError(
            f"{chosen}: {large[0]!r} is a param, and a param is no Array. Make it a list[float], "
            "or a metric."
        )
    carried = check_carries(chosen, version, options.carries or {}, params, metrics)
    known = {s.name for s in params}
    for constraint in constraints:
        for used in Expression(constraint).names:
            if used not in known:
                raise unknown_name("param", used, known, f"constraint {constraint!r}")
    return Experiment(
        name=chosen,
        version=version,
        function=function,
        params_type=shape.params_type,
        metrics_type=shape.metrics_type,
        params=params,
        metrics=tuple(s for s in metrics if s.kind != "array"),
        arrays=tuple(s for s in metrics if s.kind == "array"),
        constraints=tuple(constraints),
        cost=options.cost,
        takes_device=shape.takes_device,
        reference=options.reference,
        fused=options.fused,
        fuse_over=over,
        imports=tuple(imports),
        carries=carried,
        learns=shape.learns,
        spread=shape.spread,
        takes_seed=shape.takes_seed,
    )


def plain_experiment(
    function: Callable[..., Any], name: str | None = None, version: int = 1
) -> Experiment[Any]:
    """An Experiment of a function that bears no decorator: a lambda's arguments are numbers.

    Raises TypeError for what could not become a table.
    """
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"an experiment is a function, got {function!r}.")
    is_lambda = getattr(function, "__name__", "") == "<lambda>"
    if is_lambda and name is None:
        name = "lambda_"
    return make_experiment(function, _Options(version, name), loose=is_lambda)


def _shape(function: Callable[..., Any], *, loose: bool) -> _Shape:
    taken = list(inspect.signature(function).parameters)
    hints = hints_of(function)
    metrics_type, metrics, learns = returned(hints.get("return"), function)
    first = hints.get(taken[0]) if taken else None
    if typing.get_origin(first) is typing.Annotated:
        first = typing.get_args(first)[0]
    if is_data(first) and _is_full(taken, hints, learns=learns):
        assert isinstance(first, type)
        named = set(taken[1:]) <= set(BESIDE)
        takes_seed = "seed" in taken[1:] if named else True
        takes_device = "device" in taken[1:] if named else len(taken) == 3
        params = field_specs(first)
        return _Shape(first, params, metrics_type, metrics, learns, False, takes_seed, takes_device)
    params = arguments(function, loose=loose)
    return _Shape(
        Arguments, params, metrics_type, metrics, learns, True, "seed" in taken, "device" in taken
    )


def _is_full(taken: Sequence[str], hints: Mapping[str, Any], *, learns: bool) -> bool:
    """Whether a function whose first argument is a dataclass takes that as its Params.

    ``(params[, seed][, device])`` by these names; by others where it also returns a dataclass.
    """
    if len(taken) > 3:
        return False
    if set(taken[1:]) <= {*BESIDE}:
        return list(taken[1:]) == [n for n in BESIDE if n in taken[1:]]
    return not learns and hints.get(taken[1], int) is int
