"""One folder or zip with all that a sweep's results rest on, to hand on, cite or keep.

    README.txt           how to check, read and reproduce
    MANIFEST.sha256      hash of every file (``sha256sum -c`` reads it)
    environment.txt      installed packages and their versions
    sweeps/<sweep>.yaml  the sweep, resolved: a working folder of its own
    <module>.py          the experiment, where it is in no installed package
    results/             tables, arrays, curves, artefacts, plan, launches and their code, figures,
                         report: a results_dir

The same results give the same bytes: entries come in one order and carry no time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lawsweep.core.errors import FigureError, InvalidValueError, LawsweepError, StoreError
from lawsweep.grid.sweep import Sweep
from lawsweep.study.progress import certificate
from lawsweep.study.questions import describe_question
from lawsweep.study.study import Study, open_study
from lawsweep.tools.archive_check import MANIFEST
from lawsweep.tools.archive_launches import find_records, launch_files
from lawsweep.tools.packing import (
    environment,
    plain_config,
    readme,
    scrub,
    scrub_rows,
    sources,
)

if TYPE_CHECKING:
    from lawsweep.store.places.folder import Folder

_STORED = (".parquet", ".png", ".pdf", ".zip")  # compressed already
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can say

Entry = tuple[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Archive:
    """What ``archive`` wrote: how many files and rows, and what a reader should know."""

    path: Path
    n_files: int
    n_rows: int
    certificate: str
    notes: tuple[str, ...]


def archive(sweep: Sweep | Study | str, output: str | Path | None = None) -> Archive:
    """Write the archive of a sweep to a folder, or to a file that ends in ``.zip``.

    Every attempt of every planned run is in it, with its arrays and launches.  Paths of this
    machine are not.  Raises InvalidValueError when that is there already (an empty folder may be).
    """
    study = open_study(sweep)
    name = study.sweep.name
    path = Path(output) if output is not None else Path(f"{name}.zip")
    if path.suffix in (".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"):
        raise InvalidValueError(
            f"An archive is a folder or a .zip, got {path}; name a .zip, or a folder to pack."
        )
    # Never over another one: it may hold more than this one would.
    if path.exists() and (path.is_file() or path.suffix == ".zip" or any(path.iterdir())):
        kind = "file" if path.is_file() else "folder"
        raise InvalidValueError(
            f"The {kind} {path} is there already; name another with -o, or remove it."
        )
    notes: list[str] = []
    found = study.status()
    said = certificate(found.statuses, found.planned)
    entries = _entries(study, said, notes)
    n_files = (
        _write_zip(path, name, entries) if path.suffix == ".zip" else _write_folder(path, entries)
    )
    n_rows = sum(found.statuses.values())
    return Archive(path=path, n_files=n_files, n_rows=n_rows, certificate=said, notes=tuple(notes))


def _write_folder(path: Path, entries: Iterator[Entry]) -> int:
    from lawsweep.store.places.files import write_atomic

    hashes = {}
    for name, data in entries:
        hashes[name] = hashlib.sha256(data).hexdigest()
        write_atomic(path / name, data)
    write_atomic(path / MANIFEST, _manifest(hashes))
    return len(hashes) + 1


def _write_zip(path: Path, top: str, entries: Iterator[Entry]) -> int:
    """The zip, under a temporary name until it is whole; all in one folder called ``top``."""
    from lawsweep.store.places.files import TEMPORARY

    # A name that nobody can guess; "x" makes a file, and follows no link.
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    hashes = {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as out:
            with zipfile.ZipFile(out, "w") as file:
                for name, data in entries:
                    hashes[name] = hashlib.sha256(data).hexdigest()
                    _add(file, f"{top}/{name}", data)
                _add(file, f"{top}/{MANIFEST}", _manifest(hashes))
            out.flush()
            os.fsync(out.fileno())
        _put(temporary, path)
    except FileExistsError:
        raise InvalidValueError(
            f"The file {path} was made meanwhile; name another with -o, or remove it."
        ) from None
    except OSError as error:
        raise StoreError(
            f"Cannot write {path}: {error.strerror or error}. Free some space, or choose another "
            "place with -o."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return len(hashes) + 1


def _put(temporary: Path, path: Path) -> None:
    """Give a file its name.  Raises FileExistsError rather than replace another's work."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system without links (FAT, some network shares)
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        shutil.copyfile(temporary, path)


def _add(file: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, date_time=_EPOCH)
    info.create_system, info.external_attr = 3, 0o644 << 16
    stored = name.endswith(_STORED)
    info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    file.writestr(info, data)


def _manifest(hashes: dict[str, str]) -> bytes:
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes)).encode()


def _entries(study: Study, said: str, notes: list[str]) -> Iterator[Entry]:
    """Every file but the manifest, one at a time, always in the same order."""
    from lawsweep.store.exchange.yaml_text import escaped, write_yaml
    from lawsweep.store.places.find import open_folder
    from lawsweep.store.sweeps.sweep_folder import QUESTION, plan_table
    from lawsweep.store.table.parts import encode
    from lawsweep.store.table.tables import array_names
    from lawsweep.study.reading.findings import findings_table

    sweep, experiment = study.sweep, study.plan.experiment
    results = open_folder(sweep.results_dir)
    own = f"results/sweeps/{sweep.name}"
    rows, parts = _row_part(results, experiment.name, study.plan.run_ids)
    launches = find_records(results, sweep, rows)
    own_source, outside = sources(study.plan)
    notes.extend(outside)
    config = write_yaml(escaped(plain_config(sweep))).encode()
    yield "README.txt", readme(sweep, said, list(launches.values()), [n for n, _ in own_source])
    yield "environment.txt", environment()
    yield from own_source
    yield f"sweeps/{sweep.name}.yaml", config
    yield from parts
    for name in array_names(results, experiment.name):
        yield from _array_parts(results, experiment.name, name, study.plan.run_ids)
    yield from _curve_parts(results, experiment.name, study.plan.run_ids)
    yield from _artefacts(results, experiment.name, study.plan.run_ids)
    yield f"{own}/plan.parquet", encode(plan_table(study.plan))
    yield f"{own}/sweep.yaml", config
    plain = dataclasses.replace(sweep, variant="", file=None)
    question = describe_question(plain, study.plan)
    yield f"{own}/{QUESTION}", json.dumps(question, indent=1).encode()
    if study.cells:
        yield f"{own}/thresholds.parquet", encode(findings_table(study))
    yield from launch_files(results, sweep, launches, notes)
    yield from _pictures(study, own, notes)


def _row_part(
    results: Folder, experiment: str, run_ids: list[str]
) -> tuple[list[str], list[Entry]]:
    """Launches the rows name, and the rows of all attempts as one part."""
    from lawsweep.store.table.parts import encode
    from lawsweep.store.table.tables import read_attempts

    rows = read_attempts(results, experiment, run_ids)
    if not rows.num_rows:
        return [], []
    rows = scrub_rows(rows.sort_by([("run_id", "ascending"), ("attempt", "ascending"),
                                    ("started_at", "ascending")]))  # fmt: skip
    data = encode(rows)
    launches = sorted({i for i in rows["launch_id"].to_pylist() if i})
    return launches, [(f"results/tables/{experiment}/{_part_name(0, data)}", data)]


def _array_parts(
    results: Folder, experiment: str, name: str, run_ids: list[str]
) -> Iterator[Entry]:
    """The values of these runs, a part for each part, so that no more than one is in memory."""
    from lawsweep.store.arrays.arrays import parquet_bytes
    from lawsweep.store.table.tables import array_parts

    for i, table in enumerate(array_parts(results, experiment, name, run_ids)):
        data = parquet_bytes(table)
        yield f"results/arrays/{experiment}/{name}/{_part_name(i, data)}", data


def _curve_parts(results: Folder, experiment: str, run_ids: list[str]) -> Iterator[Entry]:
    """What these runs reported, in every attempt."""
    from lawsweep.store.curves.curves import FOLDER, CurveTable, parquet_bytes

    for i, table in enumerate(CurveTable(results / FOLDER, experiment).pieces(run_ids)):
        data = parquet_bytes(table)
        yield f"results/{FOLDER}/{experiment}/{_part_name(i, data)}", data


def _artefacts(results: Folder, experiment: str, run_ids: list[str]) -> Iterator[Entry]:
    """The files that these runs left, as they are."""
    from lawsweep.core.during.keeper import ARTEFACTS
    from lawsweep.store.curves.artefacts import Artefacts

    for one in Artefacts(results, experiment).all(run_ids):
        with suppress(StoreError, FileNotFoundError):  # a link, say
            data = one.folder.read(one.name, follow=False)
            yield f"results/{ARTEFACTS}/{experiment}/{one.run_id}/{one.name}", data


def _part_name(i: int, data: bytes) -> str:
    from lawsweep.store.table.parts import digest

    return f"part-{i:016x}-{digest(data)}.parquet"


def _pictures(study: Study, own: str, notes: list[str]) -> Iterator[Entry]:
    """Figures and report, made anew so that they show the rows that are here."""
    from lawsweep.analysis.figures.draw import METADATA
    from lawsweep.analysis.figures.kinds import parse_figures
    from lawsweep.analysis.laws.laws import parse_fits
    from lawsweep.store.places.find import open_folder

    sweep = study.sweep
    fits = parse_fits(list(sweep.fits), [*study.columns, *study.cells])
    specs = parse_figures(list(sweep.figures), study.columns, cells=study.cells, fits=fits)
    stems = {spec.name for spec in specs}
    try:
        study.report(sweep.name)
    except FigureError as error:
        notes.append(str(error))
        stems = {str(path.name).rpartition(".")[0] for path in error.drawn}  # else older ones
    except LawsweepError as error:
        notes.append(f"the archive has no report and figures of these rows: {error}")
        return
    folder = open_folder(sweep.folder)
    for name in (folder / "figures").names():
        stem, _, ending = name.rpartition(".")
        if stem in stems and ending in METADATA:
            yield f"{own}/figures/{name}", (folder / "figures").read(name, follow=False)
    yield f"{own}/report.html", scrub(folder.read("report.html").decode()).encode()
