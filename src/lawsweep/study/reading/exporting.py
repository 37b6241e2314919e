"""Export a sweep's rows, with what the columns are and the thresholds of a search beside them."""

from __future__ import annotations

from pathlib import Path, PurePath

from lawsweep.study.opening import Opened
from lawsweep.study.reading.findings import findings_table
from lawsweep.study.reading.rows import rows


def export(opened: Opened, path: str | Path) -> int:
    """See ``Study.export``."""
    from lawsweep.store.exchange.export import write_table

    table = rows(opened)
    write_table(table, path)
    return int(table.num_rows)


def beside(path: str, what: str) -> str:
    """``out/ntk.<what>.csv`` for ``out/ntk.parquet``; a URL keeps its options."""
    place, mark, options = path.partition("?")
    return f"{place.removesuffix(PurePath(place).suffix)}.{what}.csv{mark}{options}"


def export_dictionary(opened: Opened, path: str) -> str:
    """Write the data dictionary of what ``export`` wrote to ``path``; returns where it is."""
    from lawsweep.store.exchange.dictionary import data_dictionary, dictionary_table
    from lawsweep.store.exchange.export import write_table

    place = beside(path, "dictionary")
    write_table(dictionary_table(data_dictionary(rows(opened), opened.plan.experiment)), place)
    return place


def export_thresholds(opened: Opened, path: str) -> str | None:
    """Write the thresholds of a search beside what ``export`` wrote; None where there are none."""
    from lawsweep.store.exchange.export import write_table

    if not opened.cells:
        return None
    place = beside(path, "thresholds")
    write_table(findings_table(opened), place)
    return place
