"""What a function returned that declares no metrics, as a row: names to plain values and arrays."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from lawsweep.core.definition import RESERVED
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.expressions.functions import CONSTANTS
from lawsweep.core.names import alike
from lawsweep.core.schema import INT64_MAX, printable

if TYPE_CHECKING:
    import numpy as np

VALUE = "value"  # what a bare number is called
LONGEST_LIST = 1000  # of plain values that stay in the row; a longer list is an array beside it
MOST_METRICS = 2000
_SCALARS = (bool, int, float, str)


def observed(
    name: str, returned: Any, params: Mapping[str, Any], seed: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Metrics and large arrays of what the function ``name`` returned.

    That is a mapping, a number or a dataclass.

    Numpy's and torch's scalars become Python's, arrays of one axis or more float64; a list of
    numbers or of texts stays a list (a long one becomes an array).  A mapping inside a mapping is
    flattened, ``{"val": {"loss": 1}}`` to ``val_loss``; what no name has in it (``val/loss``)
    becomes ``_``.  What a function gives back of its params, or its seed, is left out.  Raises
    InvalidValueError for what is no metric, with its name.
    """
    values: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for key, value in _entries(name, returned):
        if key in params and _is_echo(value, params[key]):
            continue
        if key == "seed" and _is_echo(value, seed):
            continue
        _check_name(name, key, params)
        if key in values or key in arrays:
            raise InvalidValueError(f"{name} returned {key!r} twice; call one of them otherwise.")
        plain = _plain(key, value)
        if _is_array(plain):
            arrays[key] = plain
        else:
            values[key] = plain
    if pair := _one_name((*values, *arrays), tuple(params)):
        raise InvalidValueError(
            f"{name} returned {pair[1]!r}, which is one name with {pair[0]!r} to SQL; call it "
            "otherwise."
        )
    if len(values) + len(arrays) > MOST_METRICS:
        raise InvalidValueError(
            f"{name} returned {len(values) + len(arrays):,} metrics; a row has at most "
            f"{MOST_METRICS:,}. Return an array of them."
        )
    return values, arrays


@lru_cache(maxsize=256)
def _one_name(names: tuple[str, ...], params: tuple[str, ...]) -> tuple[str, str] | None:
    """Two that SQL takes for one; of a sweep's runs mostly all return the same names."""
    return alike(names, (*params, *sorted(RESERVED)))


def _entries(name: str, returned: Any) -> Iterator[tuple[str, Any]]:
    if returned is None:
        raise InvalidValueError(
            f"{name} returned None; return a dict of metrics, a number or a dataclass."
        )
    found = _mapping(returned)
    if found is None:
        if isinstance(returned, str | bytes | list | tuple | set) or not _is_plain(returned):
            raise InvalidValueError(
                f"{name} must return a dict of metrics, a number or a dataclass, got "
                f"{type(returned).__name__}."
            )
        yield VALUE, returned
        return
    yield from _flat(name, "", found)


def _flat(name: str, head: str, values: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if not isinstance(key, str) or not key.strip():
            raise InvalidValueError(
                f"{name} returned a metric called {key!r}; the keys of its dict are names."
            )
        full = head + key
        inner = _mapping(value)
        if inner is not None:
            yield from _flat(name, f"{full}_", inner)
        else:
            yield as_name(full), value


def _mapping(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return dict(value._asdict())
    return None


def as_name(text: str) -> str:
    """A name for a column: ``val/loss`` is ``val_loss``, ``1st`` is ``_1st``."""
    name = re.sub(r"\W", "_", text.strip())
    return f"_{name}" if name[:1].isdigit() else name


def _check_name(name: str, key: str, params: Mapping[str, Any]) -> None:
    if key in params or key == "seed":
        what = "the name of a param, with another value" if key in params else "another seed"
        raise InvalidValueError(f"{name} returned {key!r}, {what}; call the metric otherwise.")
    if key in RESERVED or key in CONSTANTS:
        what = "a column every row has already" if key in RESERVED else "a constant in expressions"
        raise InvalidValueError(f"{name} returned {key!r}, {what}; call the metric otherwise.")


def _is_echo(value: Any, param: Any) -> bool:
    """Whether a metric is but the param of its name once more."""
    if isinstance(value, enum.Enum):
        value = value.name
    if isinstance(value, PurePath):
        value = str(value)
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    try:
        return bool(value == param or (isinstance(value, list) and tuple(value) == param))
    except Exception:  # noqa: BLE001  (an array's == has no truth, whatever else a user's may do)
        return False


def _is_plain(value: Any) -> bool:
    return isinstance(value, _SCALARS) or hasattr(value, "__array__") or hasattr(value, "item")


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape")


def _plain(key: str, value: Any) -> Any:
    """A plain value, a tuple of them, None, or a float64 array of one axis or more."""
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # a tensor, wherever it lies
        value = value.detach().cpu()
    if isinstance(value, enum.Enum):
        value = value.name
    if isinstance(value, PurePath):
        value = str(value)
    if isinstance(value, str):
        return printable(str(value))
    if hasattr(value, "__array__") or (isinstance(value, list | tuple) and _is_ragged(value)):
        return _array(key, value)
    if hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _whole(key, value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, list | tuple):
        return _list(key, value)
    raise InvalidValueError(
        f"{key} is {_a(type(value).__name__)}, which no table holds; return numbers, texts, lists "
        "or arrays of numbers."
    )


def _a(word: str) -> str:
    return f"an {word}" if word[:1].lower() in "aeiou" else f"a {word}"


def _whole(key: str, value: int) -> int:
    if abs(value) > INT64_MAX:
        raise InvalidValueError(
            f"{key} is a whole number of more than 64 bits ({len(str(abs(value)))} digits); return "
            "it as a float or as text."
        )
    return int(value)


def _is_ragged(value: Any) -> bool:
    """Whether a list has more than plain values in it."""
    return any(not (v is None or isinstance(v, _SCALARS) or hasattr(v, "item")) for v in value)


def _list(key: str, value: Any) -> Any:
    """A list of plain values of one kind as a tuple; a long one of numbers as an array."""
    found = [_plain(key, v) for v in value]
    kinds = {type(v) for v in found}
    if kinds <= {int, float} and len(found) > LONGEST_LIST:
        return _array(key, found)
    if kinds == {int, float}:
        return tuple(float(v) for v in found)
    if len(kinds) > 1 or type(None) in kinds or any(isinstance(v, tuple) for v in found):
        raise InvalidValueError(
            f"{key} is a list of different things; return numbers alone, or texts alone."
        )
    return tuple(found)


def _array(key: str, value: Any) -> Any:
    import numpy as np

    try:
        found = np.asarray(value)
    except Exception as error:  # noqa: BLE001  (whatever an array-like's __array__ may raise)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidValueError(
            f"{key} is {_a(type(value).__name__)} that numpy cannot read ({reason}). Return an "
            "array of real numbers."
        ) from None
    if found.ndim == 0:
        if found.dtype.kind in "fiub":
            return _plain(key, found.item() if found.dtype.kind != "f" else float(found))
        if found.dtype.kind == "U":
            return printable(str(found))
    if found.ndim == 1 and found.dtype.kind == "U":
        return tuple(printable(v) for v in found.tolist())
    if found.dtype.kind not in "biuf":
        raise InvalidValueError(
            f"{key} must be an array of real numbers, got one of {found.dtype}. Split complex "
            "numbers into two arrays; return texts as a list."
        )
    made = np.array(found, dtype=np.float64, order="C", copy=True)
    if found.dtype.kind in "iu" and found.dtype.itemsize == 8 and not _is_exact(made, found):
        raise InvalidValueError(
            f"{key} holds whole numbers beyond 2**53, which arrays (kept as 64-bit floats) would "
            "round. Return it as text, or split it into two arrays."
        )
    return made


def _is_exact(made: Any, found: Any) -> bool:
    import numpy as np

    limit = float(2**53)
    small = np.abs(made) <= limit
    return bool(small.all()) or bool((made[~small].astype(object) == found[~small]).all())
