from __future__ import annotations

import shutil

import pytest


@pytest.fixture
def torn(lawsweep, toy_sweep, folder):
    """The sweep ``toys``, run, with a copy of its part that is torn in the middle."""
    assert lawsweep("run", "toys", "--no-analysis")[0] == 0
    (part,) = (folder / "results/tables/toy").glob("part-*")
    data = bytearray(part.read_bytes())
    data[200] ^= 0xFF  # in a page: the end, which says what the file holds, stays whole
    name = part.with_name("part-torn.parquet")
    name.write_bytes(data)
    return name


@pytest.mark.parametrize(
    "words",
    [
        ("run", "toys"),
        ("plan", "toys"),
        ("fit", "toys"),
        ("plot", "toys"),
        ("export", "toys"),
        ("report", "toys"),
        ("archive", "toys"),
        ("sql", "SELECT count(*) FROM toy"),
    ],
    ids=lambda words: words[0],
)
def test_every_verb_that_reads_rows_names_a_file_it_passes_over_once(lawsweep, torn, words):
    code, out, err = lawsweep(*words)
    assert code == 0, err
    assert err.count("note: skipped") == 1, err
    assert "part-torn.parquet: torn or not Parquet" in err
    assert "skipped" not in out


def test_in_python_it_is_a_warning(lawsweep, torn, folder):
    import lawsweep as package
    from lawsweep.store.sweeps.skipping import SkippedFileWarning

    shutil.copy(torn, torn.with_name("part-torn2.parquet"))
    sweep = package.load_sweep("toys")
    with pytest.warns(SkippedFileWarning) as told:
        package.load(sweep)
    assert len(told) == 2
    with pytest.warns(SkippedFileWarning) as told:
        package.show(package.plan(sweep).run_ids[0])
    assert len(told) == 2


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz"])
def test_an_archive_of_another_kind_is_refused(lawsweep, toy_sweep, folder, name):
    assert lawsweep("run", "toys", "--no-analysis")[0] == 0
    code, _, err = lawsweep("archive", "toys", "-o", name)
    assert code == 11
    assert "An archive is a folder or a .zip" in err
    assert not (folder / name).exists()
