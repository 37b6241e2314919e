"""What a job takes along: the working folder's files, and where its results go."""

from __future__ import annotations

import fnmatch
import glob
import os
import shlex
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lawsweep.core.errors import InvalidValueError, StoreError

MOST_BYTES = 50 * 2**20
MOST_FILES = 2000
# Left out wherever they are, beside hidden ones, virtual environments and the results.
NEVER = ("__pycache__", "node_modules", "*.pyc", "*.egg-info")
# The runs may need any of these, so no folder that has one is named as what to leave out.
NEEDED = (".py", ".yaml", ".yml")


@dataclass(frozen=True)
class Shipment:
    """Files of the working folder that go along, as paths relative to it, and what stays."""

    folder: Path
    files: tuple[str, ...]
    n_bytes: int
    left_out: tuple[str, ...]

    def pack(self, into: Path) -> None:
        """Copy the files to a folder.  Raises InvalidValueError for one that cannot be read."""
        for name in self.files:
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(self.folder / name, target)
            except OSError as error:
                raise InvalidValueError(
                    f"Cannot ship {name}: {error.strerror}. Mend it, or leave it out with "
                    f"{_exclude(name)}."
                ) from None


def survey(folder: Path, results: Path | str = "results", exclude: Sequence[str] = ()) -> Shipment:
    """What of ``folder`` a job takes along.

    Left out are hidden files and folders (.git, .venv, .env), other virtual environments,
    caches, links to folders, ``results``, the results folder and others that are results by what
    is in them, and whatever matches a pattern of ``exclude`` (of a name, or of a path from the
    folder).  Raises InvalidValueError when the rest is more than ``MOST_BYTES`` or ``MOST_FILES``.
    """
    files: dict[str, int] = {}
    left: list[str] = []
    n_bytes = 0
    not_these = {folder / "results", Path(os.path.abspath(folder / results))}  # noqa: PTH100
    for place, folders, names in os.walk(folder):
        here = Path(place)
        kept = []
        for name in sorted(folders):
            path = here / name
            relative = path.relative_to(folder).as_posix()
            if (
                path in not_these
                or path.is_symlink()
                or _stays(name, relative, exclude)
                or _stays_whole(path)
            ):
                left.append(relative)
            else:
                kept.append(name)
        folders[:] = kept
        for name in sorted(names):
            path = here / name
            relative = path.relative_to(folder).as_posix()
            if _stays(name, relative, exclude) or not path.is_file():
                left.append(relative)
                continue
            files[relative] = path.stat().st_size
            n_bytes += files[relative]
            if n_bytes > MOST_BYTES or len(files) > MOST_FILES:
                raise InvalidValueError(_too_much(folder, files))
    return Shipment(folder, tuple(files), n_bytes, tuple(left))


def _stays_whole(path: Path) -> bool:
    """Whether a folder is a virtual environment, results under any name, or not ours to read."""
    try:
        if (path / "pyvenv.cfg").is_file():
            return True
        with_tables = (path / "tables").is_dir()
        return with_tables and any(path.glob("sweeps/*/plan.parquet"))
    except OSError:
        return True


def _stays(name: str, relative: str, exclude: Sequence[str]) -> bool:
    if name.startswith(".") or any(fnmatch.fnmatch(name, pattern) for pattern in NEVER):
        return True
    return any(
        fnmatch.fnmatch(name, p) or fnmatch.fnmatch(relative, p.rstrip("/")) for p in exclude
    )


def _too_much(folder: Path, files: Mapping[str, int]) -> str:
    if sum(files.values()) > MOST_BYTES:
        most = f"{MOST_BYTES // 2**20} MiB"
        name, size = max(files.items(), key=lambda each: each[1])
        if size < MOST_BYTES / 2:  # it is many
            name, size = _heaviest(files)
        which = f"{name} alone has {size / 2**20:.0f} MiB or more"
    else:
        most = f"{MOST_FILES:,} files"
        name, n = _heaviest(dict.fromkeys(files, 1))
        which = f"{name} has {n:,} or more"
    advice = f"Leave out what the runs do not need with {_exclude(name)}, start"
    if name.endswith(NEEDED):
        which, advice = "most of it code and settings", "Start"
    return (
        f"The working folder {folder} has more than the {most} that a job takes along ({which}). "
        f"{advice} from a smaller folder, or use --no-ship where the cluster sees this folder."
    )


def _heaviest(files: Mapping[str, int]) -> tuple[str, int]:
    """The largest thing that may stay: a folder without code and settings, or a file."""
    at, inside = "", dict(files)
    while True:
        heavy: Counter[str] = Counter()
        for name, size in inside.items():
            heavy[at + name.removeprefix(at).partition("/")[0]] += size
        ((found, size),) = heavy.most_common(1)
        inside = {n: s for n, s in inside.items() if n == found or n.startswith(f"{found}/")}
        if found in inside or not any(n.endswith(NEEDED) for n in inside):
            return found, size
        at = f"{found}/"


def _exclude(name: str) -> str:
    """The option that leaves out just this."""
    return f"--exclude {shlex.quote(glob.escape(name))}"


def job_results_dir(results_dir: str, folder: Path, *, seen: bool, head: str) -> str:
    """``results_dir`` as the driver on the head must be told it: absolute, or a URL.

    ``seen``: the head has this file system (it is this machine, or shares the folder).  Raises
    StoreError for a relative one that the head would not find.
    """
    if "://" in results_dir:
        return results_dir
    if not Path(results_dir).is_absolute() and not seen:
        raise StoreError(
            f"results_dir is {results_dir!r}, a folder of this machine, and the head at {head} is "
            "another one. Give one that both see: results_dir=/shared/folder, or "
            "results_dir=s3://bucket/prefix."
        )
    return os.path.abspath(folder / results_dir)  # noqa: PTH100  (links stay as they were named)
