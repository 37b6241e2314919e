"""The network and the kernel that ntk_min_eig's params name: one spelling each.

A second spelling of one network would be a second run id, so what a shorter one says is refused.
Pure Python: a plan checks every point here, without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lawsweep.kernels.network.network import Network

FULL, CONJUGATE = "full", "conjugate"


def rectangle(width: int, n_hidden: int) -> tuple[int, ...]:
    """Every hidden layer has ``width`` units."""
    return (width,) * n_hidden


def pyramid(width: int, n_hidden: int) -> tuple[int, ...]:
    """Each hidden layer has half the units of the one before, rounded up: w, w/2, w/4, ..."""
    return tuple(-(-width // 2**k) for k in range(n_hidden))


def bottleneck(width: int, n_hidden: int) -> tuple[int, ...]:
    """First and last hidden layer have ``width`` units, those between a quarter, rounded up."""
    return tuple(width if k in (0, n_hidden - 1) else -(-width // 4) for k in range(n_hidden))


def described(input_dim: Any, hidden: Sequence[Any], kernel: str, **options: Any) -> Network:
    """The network of these hidden widths, numbers or columns, of which ``kernel`` sees a part."""
    from lawsweep.kernels.network.network import Network

    return Network(
        (input_dim, *hidden, 1),
        layers=kernel_layers(kernel, len(hidden) + 1),
        conjugate=kernel == CONJUGATE,
        **options,
    )


# In order: a network that two rules give is spelled by the first.
SHAPES: dict[str, Callable[[int, int], tuple[int, ...]]] = {
    "rectangle": rectangle,
    "pyramid": pyramid,
    "bottleneck": bottleneck,
}


@lru_cache(maxsize=4096)
def hidden_widths(
    width: int, depth: int, shape: str = "rectangle", widths: tuple[int, ...] = ()
) -> tuple[int, ...]:
    """(n_1, ..., n_{L-1}); ValueError for a network that is not spelled in the one valid way."""
    n_hidden = depth - 1
    if widths:
        if shape != "rectangle":
            raise ValueError(
                f"widths and shape={shape!r} both set the hidden layers; leave one of them out"
            )
        if min(widths) < 1:
            raise ValueError(f"widths must be at least 1, got {list(widths)}")
        if (len(widths), widths[0]) != (n_hidden, width):
            raise ValueError(
                f"widths {list(widths)} needs depth={len(widths) + 1} and width={widths[0]} (its "
                f"first entry), got depth={depth} and width={width}; zip the three in a sweep"
            )
    found = widths or SHAPES[shape](width, n_hidden)
    first = next((name for name, rule in SHAPES.items() if rule(width, n_hidden) == found), None)
    if first is not None and (widths or first != shape):
        asked = f"widths={list(widths)}" if widths else f"shape={shape!r}"
        raise ValueError(
            f"{asked} at width={width}, depth={depth} is the {first} {list(found)}; "
            f"write shape={first!r} and no widths (an empty list in a sweep)"
        )
    return found


def layer_betas(beta: float, betas: Sequence[float], depth: int) -> tuple[float, ...]:
    """(beta_1, ..., beta_L); ValueError where ``betas`` does not fit or says what beta does."""
    if not betas:
        return (beta,) * depth
    if len(betas) != depth:
        raise ValueError(
            f"betas must have one entry for each of the depth={depth} layers, got {list(betas)}"
        )
    if min(betas) <= 0:
        raise ValueError(f"betas must be greater than 0, got {list(betas)}")
    if beta != 1.0:
        raise ValueError(f"betas replace beta; leave beta at 1, got beta={beta}")
    if len(set(betas)) == 1:
        raise ValueError(f"betas {list(betas)} are all equal; write beta={betas[0]} and no betas")
    return tuple(betas)


def kernel_layers(kernel: str, depth: int) -> tuple[int, ...] | None:
    """The layers that ``kernel`` sums, None for all (and for the conjugate kernel)."""
    if kernel in (FULL, CONJUGATE):
        return None
    # One spelling a layer: "2", not "02".
    numbers = [str(k) for k in range(1, depth + 1)]
    parts = kernel.split("+")
    places = [numbers.index(p) for p in parts if p in numbers]
    if len(places) != len(parts):
        raise ValueError(
            f"kernel must be {FULL!r} or a layer from 1 to depth={depth}, several joined by + as "
            f"in '1+2', or {CONJUGATE!r}; got {kernel!r}"
        )
    if places != sorted(set(places)):
        raise ValueError(f"kernel must name its layers once, in ascending order, got {kernel!r}")
    if len(places) == depth:
        raise ValueError(f"kernel {kernel!r} has all {depth} layers; write {FULL!r}")
    return tuple(k + 1 for k in places)
