"""The samples of ntk_min_eig: drawn from a law, scikit-learn's digits, or a file of the user's."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lawsweep import stream
from lawsweep.core.errors import unknown_name

if TYPE_CHECKING:
    import numpy as np

    from lawsweep.experiments._ntk_params import Params

DRAWN = ("gaussian", "sphere", "rademacher", "uniform")  # mean 0 and covariance I
LAWS = (*DRAWN, "mixture", "correlated", "digits")
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


class Inputs(NamedTuple):
    """``x`` (N, d) and, of data that was given rather than drawn, a digest of its content."""

    x: Any
    digest: str | None


def check_data(p: Params) -> None:
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


def inputs(p: Params, seed: int, dtype: Any, device: str) -> Inputs:
    """The samples of one run, as a tensor of ``dtype`` on ``device``.

    Raises ValueError for a file that cannot be read or does not fit, ModuleNotFoundError where
    the digits need scikit-learn and it is not installed.
    """
    import torch

    from lawsweep.kernels import data, sampling

    rng, n, d = stream(seed, "data"), p.n_samples, p.input_dim
    if p.data in DRAWN:
        return Inputs(sampling.rows(p.data, rng, n, d, dtype, device), None)
    digest = None
    if p.data == "mixture":
        rows = data.mixture(rng, n, d, p.n_clusters, p.separation)
    elif p.data == "correlated":
        given = p.covariance_spectrum or data.power_law_spectrum(d, p.covariance_exponent)
        rows = data.correlated(rng, n, given)
    else:
        found = _digits() if p.data == "digits" else _file(p.data.removeprefix(FILE), d)
        rows, digest = data.drawn(found.x, rng, n, f"data={p.data!r}"), found.digest
    return Inputs(torch.from_numpy(rows).to(device=device, dtype=dtype), digest)


@lru_cache(maxsize=1)
def _digits() -> Inputs:
    """All 1,797 images of 8 x 8 pixels, each pixel standardised over them (three never vary: 0)."""
    import numpy as np

    from lawsweep.kernels import data

    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "data='digits' needs scikit-learn; install it with: pip install 'lawsweep[data]'"
        ) from None
    raw = np.ascontiguousarray(load_digits().data, dtype=np.float64)
    return Inputs(data.standardised(raw), _digest(raw.tobytes()))


def _file(path: str, input_dim: int) -> Inputs:
    """The rows of a file and the digest of its bytes; read once while the file stays as it is."""
    try:
        stat = Path(path).expanduser().stat()
        return _read(path, stat.st_mtime_ns, stat.st_size, input_dim)
    except (OSError, RuntimeError) as error:  # RuntimeError: the home of an unknown ~user
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise ValueError(
            f"cannot read {path!r}: {reason}; give a path that every worker can open"
        ) from None


@lru_cache(maxsize=2)
def _read(path: str, mtime_ns: int, size: int, input_dim: int) -> Inputs:
    del mtime_ns, size  # they are the key: a file that was replaced is read again
    from lawsweep.kernels import data

    content = Path(path).expanduser().read_bytes()
    try:
        rows = _parse(content, Path(path).suffix)
    except (ValueError, TypeError, OSError, EOFError) as error:  # pyarrow's are ValueErrors too
        reason = str(error).rstrip(".")
        raise ValueError(f"cannot read {path!r} as {Path(path).suffix}: {reason}") from None
    return Inputs(data.checked(rows, input_dim, repr(path)), _digest(content))


def _parse(content: bytes, suffix: str) -> np.ndarray:
    """The array of a .npy; the columns, in order, of a .parquet or of a .csv with a header line."""
    import io

    import numpy as np

    if suffix == ".npy":
        return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
    import pyarrow as pa
    from pyarrow import csv, parquet

    source = pa.BufferReader(content)
    table = parquet.read_table(source) if suffix == ".parquet" else csv.read_csv(source)
    for field in table.schema:
        if not (pa.types.is_integer(field.type) or pa.types.is_floating(field.type)):
            raise TypeError(f"column {field.name!r} holds {field.type}, not numbers; drop it")
    columns = [c.cast(pa.float64()).to_numpy() for c in table.columns]
    return np.stack(columns, axis=1) if columns else np.empty((table.num_rows, 0))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
