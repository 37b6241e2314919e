"""The data dictionary that goes beside an exported table."""

from __future__ import annotations

from pathlib import PurePath

from lawsweep.grid.sweep import Sweep
from lawsweep.study.reading import load_arrow


def dictionary_path(path: str) -> str:
    """``out/ntk.dictionary.csv`` for ``out/ntk.parquet``; a URL keeps its options."""
    place, mark, options = path.partition("?")
    ending = PurePath(place).suffix
    return f"{place.removesuffix(ending)}.dictionary.csv{mark}{options}"


def export_dictionary(sweep: Sweep, path: str) -> str:
    """Write the data dictionary of what ``export`` wrote to ``path``; returns where it is."""
    from lawsweep.store.exchange.dictionary import data_dictionary, dictionary_table
    from lawsweep.store.exchange.export import write_table

    rows = data_dictionary(load_arrow(sweep), sweep.find_experiment())
    place = dictionary_path(path)
    write_table(dictionary_table(rows), place)
    return place
