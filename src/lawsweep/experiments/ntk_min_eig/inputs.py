"""The samples of ntk_min_eig: drawn from a law, scikit-learn's digits, or a file of the user's."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lawsweep import stream
from lawsweep.experiments.fields import ROW_LAWS
from lawsweep.experiments.ntk_min_eig.params import FILE, Params

if TYPE_CHECKING:
    import numpy as np


class Inputs(NamedTuple):
    """``x`` (N, d) and, of data that was given rather than drawn, a digest of its content."""

    x: Any
    digest: str | None


def inputs(p: Params, seed: int, dtype: Any, device: str) -> Inputs:
    """The samples of one run, as a tensor of ``dtype`` on ``device``.

    Raises ValueError for a file that cannot be read or does not fit, ModuleNotFoundError where
    the digits need scikit-learn and it is not installed.
    """
    import torch

    from lawsweep.kernels.data import laws as data
    from lawsweep.kernels.data import sampling

    rng, n, d = stream(seed, "data"), p.n_samples, p.input_dim
    if p.data in ROW_LAWS:
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

    from lawsweep.kernels.data import laws as data

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
    from lawsweep.kernels.data import laws as data

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
