"""The table: a grow-only set of rows in immutable Parquet parts, keyed by ``run_id``.

Parts are named by their content and written whole (``Folder.write``), so writers need no lock and
several drivers may run at once.  Duplicates are harmless: the reader keeps the latest successful
attempt.  A torn, foreign or newer file is named and skipped.
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from lawsweep.core.errors import IncompatibleTableError
from lawsweep.core.experiment import Experiment
from lawsweep.core.protocols import Done
from lawsweep.store.places.find import open_folder
from lawsweep.store.places.folder import Folder
from lawsweep.store.table.attempts import IDENTITY, latest
from lawsweep.store.table.collection import no_collection
from lawsweep.store.table.one_name import check_columns, check_folders
from lawsweep.store.table.part_writer import PartWriter
from lawsweep.store.table.parts import (
    PART,
    NewerPart,
    SkippedPart,
    encode,
    part_names,
    read_part,
    read_schema,
    steady_look,
)
from lawsweep.store.table.plain import arrow, plain
from lawsweep.store.table.reader import Wanted
from lawsweep.store.table.schema import (
    changed_defaults,
    conflicts,
    defaults,
    lacking_metrics,
    table_schema,
    told_differences,
)
from lawsweep.store.table.stored import learned
from lawsweep.store.table.words import in_words_of_today

if TYPE_CHECKING:
    from lawsweep.core.outcome import CurvePoint
    from lawsweep.core.protocols import Arrays
    from lawsweep.store.arrays.arrays import ArrayStore
    from lawsweep.store.curves.curves import CurveTable

# Suspended for so long between arrays and rows, a process may be taken for dead, and they for bare.
LONG_S = 600.0
MERGE_BYTES = 64 * 2**20  # of parts together; larger ones stay as they are
T = TypeVar("T")


@dataclass
class ParquetTable:
    """All outcomes of one experiment in the folder ``root/<experiment>``.

    ``root`` is a path, a Folder or the URL of an object store.  ``skipped`` names the files the
    last read passed over, each with its reason.
    """

    root: Path | str | Folder
    experiment: Experiment
    skipped: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        root = open_folder(self.root)
        self.folder = (root / self.experiment.name).held()
        self.results = self.folder.parent.parent  # where arrays, curves and the rest have folders
        self.experiment = learned(self.experiment, self.folder)
        self._arrays_root = (root.parent / "arrays").held()
        self.schema = table_schema(self.experiment)
        self._writer = PartWriter(self.folder, self._whole, encode, MERGE_BYTES)
        self._lock = Lock()  # two threads of one program may append to it
        self._arrays: ArrayStore | None = None
        self._curves: CurveTable | None = None
        # Parts that the last look saw; those whose rows ``done`` and ``news`` have told.
        self._listed, self._looked = set[str](), set[str]()
        self._seen: dict[str, pa.Schema] = {}  # of parts that were read: they never change

    def parts(self) -> list[str]:
        """Names of the files that may be parts, in order (roughly the order of writing)."""
        return part_names(self.folder)

    def check_writable(self) -> None:
        """Raise StoreError if no part can be written, IncompatibleTableError if none should be.

        A part of a newer format is passed over, as by every reader: it is somebody's who works
        on the same table with a newer lawsweep, and at worst some of its runs are done again.
        But where all parts are newer, the table as a whole is not this lawsweep's to write.
        """
        check_folders(self.folder, self._arrays_root / self.experiment.name, self.experiment)
        self.folder.check_writable()
        self.check_rows()

    def check_rows(self) -> None:
        """Raise IncompatibleTableError where the rows are not those of today's experiment."""
        schemas, newer = self._schemas()
        if newer and not schemas:
            name, reason = min(newer.items())
            raise IncompatibleTableError(
                f"The table {self.folder} was {reason.partition(';')[0]}, in {name} and every "
                "other part. Update lawsweep, or set results_dir to another folder."
            )
        for name, schema in schemas.items():
            if wrong := conflicts(self.schema, schema):
                raise IncompatibleTableError(
                    f"The table {self.folder} holds other columns than {self.experiment.name} "
                    f"version {self.experiment.version} ({name}: {'; '.join(wrong)}). "
                    "Rename the field, or set results_dir to another folder."
                )
            if changed := changed_defaults(self.experiment, schema):
                raise IncompatibleTableError(
                    f"{self.experiment.name} version {self.experiment.version} has rows under "
                    f"other defaults ({'; '.join(changed)}), and a run id leaves defaults out. "
                    "Raise the version of the experiment, or restore the default."
                )
        check_columns(self.folder, self.schema, schemas.values())
        self._writer.is_there = bool(schemas)

    def notes(self) -> list[str]:
        """What a person should know of the files in the folder before adding to them."""
        older = self.differences()
        return [*(f"skipped {self.folder}/{n}: {why}" for n, why in self.skipped.items()), *older]

    def differences(self) -> list[str]:
        """What was otherwise when parts of this version were written, and does no harm by itself.

        Columns that the experiment has no more: they stay in their files, and are not read.
        Metrics that came since.  Rows that a function of the same name made elsewhere: their ids
        are those of today's runs.
        """
        return told_differences(self.experiment, self.schema, self._schemas()[0].values())

    def lacks_metrics(self) -> bool:
        """Whether a part of this version lacks a metric that every run gives today."""
        return bool(lacking_metrics(self.experiment, self._schemas()[0].values(), optional=False))

    def older_versions(self) -> bool:
        """Whether a part holds rows of an older version of the experiment."""
        metadata = [s.metadata or {} for s in self._schemas()[0].values()]
        said = [m.get(b"lawsweep.version", b"") for m in metadata]
        return any(v.isdigit() and int(v) < self.experiment.version for v in said)

    def _schemas(self) -> tuple[dict[str, pa.Schema], dict[str, str]]:
        """The schemas of the parts that can be read, and the reasons of those that are newer."""
        found = dict(self._each(partial(_part_or_reason, self._schema_of, self.folder)))
        newer = {n: str(s) for n, s in found.items() if isinstance(s, NewerPart)}
        return {n: s for n, s in found.items() if isinstance(s, pa.Schema)}, newer

    def _schema_of(self, folder: Folder, name: str) -> pa.Schema:
        if name not in self._seen:
            self._seen[name] = read_schema(folder, name)
        return self._seen[name]

    def append(
        self, rows: Sequence[Mapping[str, Any]], arrays: Sequence[Arrays | None] | None = None
    ) -> None:
        """Write rows as one part: durable when this returns, absent if it raises StoreError.

        ``arrays``, the large arrays of each row, are durable before the rows.
        """
        if not rows:
            return
        columns = [pa.array([r.get(f.name) for r in rows], type=f.type) for f in self.schema]
        began, has_arrays = time.time(), arrays is not None and any(arrays)
        if arrays is not None and has_arrays:
            self.array_store.append(rows, arrays)
        data = encode(pa.Table.from_arrays(columns, schema=self.schema))
        with self._lock:
            self._writer.write(data)
            self._writer.merge()
        if arrays is not None and has_arrays and abs(time.time() - began) > LONG_S:
            self.array_store.append(rows, arrays)  # writes those that are not there any more

    def learn(self, experiment: Experiment) -> None:
        """From now on write the metrics of ``experiment``, which has more, or wider ones."""
        with self._lock:
            self.experiment, self.schema = experiment, table_schema(experiment)
            self._arrays = None

    def relearn(self) -> None:
        """Look which metrics the parts have by now, of an experiment that learns them."""
        self.learn(learned(self.experiment, self.folder))

    def _whole(self, name: str) -> pa.Table:
        return read_part(self.folder, name, self.schema, {})

    @property
    def array_store(self) -> ArrayStore:
        """The large arrays of this experiment: ``arrays`` beside ``tables``."""
        from lawsweep.store.arrays.arrays import ArrayStore

        if self._arrays is None:
            self._arrays = ArrayStore(self._arrays_root, self.experiment)
        return self._arrays

    @property
    def curve_table(self) -> CurveTable:
        """What runs of this experiment reported on their way: ``curves`` beside ``tables``."""
        from lawsweep.store.curves.curves import FOLDER, CurveTable

        if self._curves is None:
            self._curves = CurveTable(self.results / FOLDER, self.experiment.name)
        return self._curves

    def append_curves(self, points: Sequence[CurvePoint]) -> None:
        """Write points of curves: durable when this returns.  Raises StoreError."""
        self.curve_table.append(points)

    def done(self, run_ids: Collection[str] | None = None) -> dict[str, Done]:
        """What is known of each run (of all, or of those asked for) that has a row."""
        table = self.rows(run_ids, Done._fields)
        self._looked = self._listed
        return done_of(table)

    def news(self, columns: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Rows in parts that have come since ``done`` or the last look; not those written here.

        Each has its run id, status, attempt and ``columns``.  Costs a listing where nothing came.
        """
        new = [n for n in self.parts() if n not in self._looked and n not in self._writer.wrote]
        names = dict.fromkeys([*IDENTITY, *columns])
        # A metric that is learnt may be in no row yet.
        fields = [self.schema.field(n) for n in names if n in self.schema.names]
        schema, found = pa.schema(fields, metadata=self.schema.metadata), []
        for name in new:
            with suppress(SkippedPart, FileNotFoundError):  # merged away: its rows are elsewhere
                part = read_part(self.folder, name, schema, {})
                found += in_words_of_today(part, self.experiment.aliases).to_pylist()
        self._looked |= set(new)
        return found

    def reasons(self, known: Mapping[str, Done], status: str) -> dict[str, int]:
        """The errors of the known runs with a status, and how often each; the commonest first."""
        found = self.errors(known, (status,))
        return dict(Counter(error for _, _, error in found).most_common())

    def errors(
        self, known: Mapping[str, Done], statuses: Collection[str]
    ) -> list[tuple[str, str, str]]:
        """(Run id, status, error) of the known runs with one of these statuses, in their order."""
        wanted = [run_id for run_id, row in known.items() if row.status in statuses]
        if not wanted:
            return []
        rows = self.read(wanted, ["error"])
        ids, errors = rows["run_id"].to_pylist(), rows["error"].to_pylist()
        return [(i, known[i].status, e or "") for i, e in zip(ids, errors, strict=True)]

    def since(self, parts: Collection[str]) -> ParquetTable:
        """Another hand on this table, for a launch: parts that are not among ``parts`` are news."""
        other = copy.copy(self)  # on the same ground: a share that went is an error, also here
        other._writer = PartWriter(other.folder, other._whole, encode, MERGE_BYTES)
        other._lock, other.skipped = Lock(), {}
        other._arrays = other._curves = None
        other._listed, other._looked = set[str](), set(parts)
        return other

    def read(
        self, run_ids: Sequence[str] | None = None, columns: Collection[str] | None = None
    ) -> pa.Table:
        """Rows as an Arrow table with today's schema: all, or those asked for in that order."""
        table = self.rows(run_ids, columns)
        if run_ids is None:
            return table
        where = {name: i for i, name in enumerate(plain(table["run_id"]))}
        return table.take(arrow(np.array([where[r] for r in run_ids if r in where], np.int64)))

    def rows(
        self, run_ids: Collection[str] | None = None, columns: Collection[str] | None = None
    ) -> pa.Table:
        """One row a run, of all or of those asked for: the attempt that counts (``latest``).

        With today's columns or some of them, and those of IDENTITY.  It reads what it returns: row
        groups that hold none of the runs, and other columns, stay where they are.
        """
        return latest(self.attempts(run_ids, columns))

    def attempts(
        self, run_ids: Collection[str] | None = None, columns: Collection[str] | None = None
    ) -> pa.Table:
        """As ``rows``, every row of every part in their order: all attempts, repeats included."""
        names = None if columns is None else {*IDENTITY, *columns}
        fields = [f for f in self.schema if names is None or f.name in names]
        schema = pa.schema(fields, metadata=self.schema.metadata)
        read = partial(
            _part_or_reason,
            partial(
                read_part,
                schema=schema,
                fill=defaults(self.experiment),
                seen=self._seen,
                wanted=None if run_ids is None else Wanted(run_ids),
            ),
            self.folder,
        )
        tables = [t for _, t in self._each(read) if isinstance(t, pa.Table)]
        # Not `schema.empty_table()`: that imports pandas, which takes 0.1 s.
        rows = pa.concat_tables([pa.Table.from_batches([], schema=schema), *tables])
        return in_words_of_today(rows, self.experiment.aliases)

    def _each(self, read: Callable[[str], T | SkippedPart]) -> list[tuple[str, T | SkippedPart]]:
        """What ``read`` makes of each part; ``skipped`` has the reasons of those it passes over."""
        found = list(steady_look(self.folder, read).items())
        self._listed = {n for n, _ in found}
        self.skipped = {n: str(r) for n, r in found if isinstance(r, SkippedPart)}
        if self.folder.is_local:
            odd = (n for n in self.folder.folders() if PART.match(n))
            self.skipped |= dict.fromkeys(odd, "a folder, not a file")
        return found


def done_of(rows: pa.Table) -> dict[str, Done]:
    """What ``done`` says of rows that have been read, one a run."""
    if not rows.num_rows:
        return {}  # before what comes next has pyarrow import pandas
    ids, *facts = (plain(rows[name]) for name in ("run_id", *Done._fields))
    with no_collection():
        return dict(zip(ids, map(Done._make, zip(*facts, strict=True)), strict=True))


def _part_or_reason(read: Callable[[Folder, str], T], folder: Folder, name: str) -> T | SkippedPart:
    try:
        return read(folder, name)
    except SkippedPart as reason:
        return reason
