"""The state of a run as bytes and back: arrays, numbers, texts and what nests them; no pickle.

A zip of ``state.json`` (what it is of, and its shape), the arrays as ``.npy``, and the files that
go with it under ``files/``.  Nothing that is read is ever executed.
"""

from __future__ import annotations

import base64
import importlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lawsweep.core.errors import InvalidValueError

MOST_BYTES = 2**31  # of one checkpoint
DEEPEST = 100
PLAIN_BITS = 8192  # of a whole number; Python turns no much longer one into decimals
_STATE, _FILES = "state.json", "files/"


# What zipfile, json and numpy raise of bytes that were altered; a RuntimeError is one that says
# encrypted, compressed in another way, of a later version, or nested too deeply.
_TORN: tuple[type[Exception], ...] = (LookupError, TypeError, ValueError, AttributeError)
_TORN += (RuntimeError, EOFError, zipfile.BadZipFile, zlib.error)
_NO_ZIP: tuple[type[Exception], ...] = (*_TORN, OSError)


class BrokenError(Exception):
    """What was read is no whole checkpoint."""


def pack(state: Any, facts: Mapping[str, Any], folder: Path | None) -> bytes:
    """``state`` and the files in ``folder``, with the facts of whose it is.

    Raises InvalidValueError for what cannot be kept, and where it is.
    """
    arrays: list[Any] = []
    shape = _encoded(state, "state", arrays, 0)
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_STORED) as made:
        made.writestr(_STATE, json.dumps({**facts, "state": shape}))
        for i, array in enumerate(arrays):
            _check_size(kept.tell() + array.nbytes)
            made.writestr(f"{i}.npy", _npy(array))
        _check_size(kept.tell())
        for path in sorted(folder.rglob("*")) if folder is not None else ():
            if path.is_file() and not path.is_symlink():
                _check_size(kept.tell() + path.stat().st_size)
                made.write(path, _FILES + path.relative_to(folder or path).as_posix())
    return kept.getvalue()


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise InvalidValueError(
            f"A checkpoint has at most {MOST_BYTES:,} bytes, and this one {size:,} or more. Keep "
            "what can be computed again out of it."
        )


def facts_of(data: bytes) -> dict[str, Any]:
    """What a checkpoint says it is of.  Raises BrokenError."""
    with _opened(data) as file:
        return {k: v for k, v in _head(file).items() if k != "state"}


def unpack(data: bytes, folder: Callable[[], Path]) -> Any:
    """The state; its files are put into ``folder()``.  Raises BrokenError."""
    with _opened(data) as file:
        try:
            state = _decoded(_head(file)["state"], file)
            for name in file.namelist():
                if name.startswith(_FILES):
                    _put(file, name, folder())
        except _TORN as error:
            raise BrokenError(str(error)) from None
    return state


def _put(file: zipfile.ZipFile, name: str, folder: Path) -> None:
    parts = name.removeprefix(_FILES).split("/")
    if any(p in ("", ".", "..") or "\\" in p for p in parts):
        raise BrokenError(f"a file that would lie elsewhere: {name!r}")
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.read(name))


def _opened(data: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except _NO_ZIP as error:
        raise BrokenError(str(error)) from None


def _head(file: zipfile.ZipFile) -> dict[str, Any]:
    try:
        found = json.loads(file.read(_STATE))
    except _TORN as error:
        raise BrokenError(str(error)) from None
    if not isinstance(found, dict) or "state" not in found:
        raise BrokenError("it says nothing of a state")
    return found


def _npy(array: Any) -> bytes:
    import numpy as np

    kept = io.BytesIO()
    np.lib.format.write_array(kept, array, allow_pickle=False)
    return kept.getvalue()


def _encoded(value: Any, where: str, arrays: list[Any], depth: int) -> Any:
    """A value as JSON: itself where it is plain, else a mapping of what it is to what it holds."""
    if type(value) is int and value.bit_length() > PLAIN_BITS:
        return {"int": hex(value)}
    if value is None or (isinstance(value, bool | int | str) and type(value) in (bool, int, str)):
        return value
    if type(value) is float:
        return value  # JSON of Python keeps every bit, NaN and infinity
    if depth > DEEPEST:
        raise InvalidValueError(
            f"checkpoint.save takes {DEEPEST} levels at most, and {where[:60]}... is deeper. "
            "Does it hold itself?"
        )
    if isinstance(value, bytes | bytearray):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        for key in value:
            if type(key) not in (str, int, float, bool) and key is not None:
                raise _cannot(key, f"a key of {where}")
        pairs = [[k, _encoded(v, f"{where}[{k!r}]", arrays, depth + 1)] for k, v in value.items()]
        return {"dict": pairs}
    if type(value) in (list, tuple):
        each = [_encoded(v, f"{where}[{i}]", arrays, depth + 1) for i, v in enumerate(value)]
        return {type(value).__name__: each}
    return _encoded_array(value, where, arrays)


def _encoded_array(value: Any, where: str, arrays: list[Any]) -> Any:
    import numpy as np

    kind = type(value).__module__.partition(".")[0]
    if kind == "torch" and hasattr(value, "detach"):
        here = value if value.is_meta else value.detach().cpu()  # what its GPU says passes on
        try:
            arrays.append(_bits(here))
        except (TypeError, RuntimeError):  # sparse, nested, quantised, of no data
            raise _cannot(value, f"{where}, {value.layout} of {value.dtype}") from None
        return {"tensor": len(arrays) - 1, "dtype": _name(value)}
    masked = isinstance(value, np.ma.MaskedArray)  # its mask would be lost
    is_array = isinstance(value, np.ndarray | np.generic) and not masked
    if is_array and not np.asarray(value).dtype.hasobject:
        arrays.append(np.asarray(value))
        return {"array" if isinstance(value, np.ndarray) else "number": len(arrays) - 1}
    raise _cannot(value, where)


def _name(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _bits(tensor: Any) -> Any:
    """A tensor as numpy has it; of a type that numpy has not, its bits."""
    import numpy as np

    name = _name(tensor)
    if name in _BITS:
        tensor = tensor.view(getattr(importlib.import_module("torch"), _BITS[name]))
    return np.asarray(tensor.resolve_conj().resolve_neg().numpy())


_BITS = {"bfloat16": "int16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}


def _cannot(value: Any, where: str) -> InvalidValueError:
    return InvalidValueError(
        "checkpoint.save takes arrays, tensors, numbers, texts, None, and dicts, lists and tuples "
        f"of them, got {type(value).__name__} at {where}. Give what it is made of "
        "(model.state_dict(), say), or write it to a file in checkpoint.folder()."
    )


def _decoded(value: Any, file: zipfile.ZipFile) -> Any:
    if not isinstance(value, dict):
        return value
    kind, held = next(iter(value.items()))
    if kind == "int":
        return int(held, 16)
    if kind == "bytes":
        return base64.b64decode(held)
    if kind == "dict":
        return {k: _decoded(v, file) for k, v in held}
    if kind in ("list", "tuple"):
        each = [_decoded(v, file) for v in held]
        return each if kind == "list" else tuple(each)
    import numpy as np

    with file.open(f"{int(held)}.npy") as source:
        array = np.lib.format.read_array(io.BytesIO(source.read()), allow_pickle=False)
    if kind == "tensor":
        torch: Any = importlib.import_module("torch")
        tensor = torch.from_numpy(array)
        name = value["dtype"]
        return tensor.view(getattr(torch, name)) if name in _BITS else tensor
    if kind not in ("array", "number"):
        raise BrokenError(f"it holds a {kind!r}, which this lawsweep does not know")
    return array if kind == "array" else array[()]
