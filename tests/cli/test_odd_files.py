"""Whatever lies in the store, every verb passes it over or names it: none hangs, none crashes."""

from __future__ import annotations

import json
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lawsweep.store.table.parts import MANY_ROWS

SPARSE = 2**41  # bytes that take no room on the disk

RECORDS = [
    b"",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 100_000,
    b"9" * 10_000,
    b'{"launch_id": 5, "started_at": [], "config": "x", "git": "x", "statuses": 3, "hosts": 1,'
    b' "packages": [], "overrides": "x", "command": {}, "ended_at": {}, "host": [], "pid": "x",'
    b' "argv": 1, "kind": 2, "sweep": [], "run_ids": 4, "sha256": [], "columns": 3}',
    b'{"launch_id": null, "config": {"experiment": 3}, "git": null, "statuses": null, "at": 1e999,'
    b' "running": NaN, "rate": -1e999, "eta_s": "x", "hardware": [1], "job": 3, "address": [],'
    b' "submitted_at": 3}',
]


def part_of(folder):
    return sorted((folder / "results/tables/toy").glob("part-*.parquet"))[0]


def fifo(at):
    at.parent.mkdir(exist_ok=True, parents=True)
    os.mkfifo(at)


def sparse(at):
    at.parent.mkdir(exist_ok=True, parents=True)
    at.touch()
    os.truncate(at, SPARSE)


def link_to_nothing(at):
    at.parent.mkdir(exist_ok=True, parents=True)
    at.symlink_to("nowhere")


def directory(at):
    (at / "inner").mkdir(parents=True)


def rewritten(folder, change, name="part-f.parquet"):
    """A copy of the part, with its table changed."""
    table = change(pq.read_table(part_of(folder)))
    pq.write_table(table, part_of(folder).with_name(name))


def bad_text(table):
    data = pa.array([b"\xff\xfe" + bytes([i]) for i in range(table.num_rows)], pa.binary())
    texts = pa.StringArray.from_buffers(len(data), data.buffers()[1], data.buffers()[2])
    return table.set_column(table.schema.get_field_index("run_id"), "run_id", texts)


def bad_time(table):
    kind = pa.timestamp("us", tz="UTC")
    times = pa.array([2**62] * table.num_rows, pa.int64()).cast(kind)
    return table.set_column(table.schema.get_field_index("started_at"), "started_at", times)


def told(table, key, value):
    return table.replace_schema_metadata({**table.schema.metadata, key: value})


def claims(folder):
    n = MANY_ROWS + 1
    table = pq.read_table(part_of(folder)).slice(0, 1)
    many = pa.table([pa.repeat(c[0], n) for c in table.columns], schema=table.schema)
    pq.write_table(many, part_of(folder).with_name("part-f.parquet"), compression="zstd")


def records(folder, ending):
    """Every record under that ending, as that of a launch and as that of a job."""
    for kind in ("launches", "jobs"):
        at = folder / "results/sweeps/toys" / kind
        at.mkdir(exist_ok=True)
        for i, data in enumerate(RECORDS):
            (at / f"r{i}{ending}").write_bytes(data)


def no_files(folder):
    """What is no file, each kind wherever a file may be: part, record, sign of life, plan, job."""
    sweep = folder / "results/sweeps/toys"
    for i, mischief in enumerate((link_to_nothing, fifo, sparse, directory)):
        mischief(part_of(folder).with_name(f"part-z{i}.parquet"))
        for name in ("launches/x{}.json", "launches/y{}.live", "launches/z{}.plan.parquet",
                     "jobs/x{}.json"):  # fmt: skip
            mischief(sweep / name.format(i))


def odd_names(folder):
    directory(folder / "results/tables/two\nlines")
    directory(folder / "results/sweeps" / os.fsdecode(b"\xff\xfe"))
    directory(folder / "results/arrays/toy/esc\x1b[31m")
    (folder / "results/tables/other").write_text("x")


def odd_records(folder):
    for ending in (".json", ".live", ".plan.parquet"):
        records(folder, ending)


def odd_values(folder):
    rewritten(folder, bad_text, "part-text.parquet")
    rewritten(folder, bad_time, "part-time.parquet")
    rewritten(folder, lambda t: t.append_column("status", t["status"]), "part-twice.parquet")
    claims(folder)


def odd_words(folder):
    defaults = '{"scale": [1], "n": "x"}'
    rewritten(folder, lambda t: told(t.drop_columns("scale"), "lawsweep.defaults", defaults))
    rewritten(
        folder,
        lambda t: told(told(t, b"lawsweep.function", b"\xff"), b"\xff\xfe", b"\xff"),
        "part-g.parquet",
    )
    name = "part-0000000000000001-0000000000000002-compact.parquet"
    rewritten(folder, lambda t: told(t, b"lawsweep.compacts", b"\xff"), name)


MISCHIEF = {
    "no files": no_files,
    "names": odd_names,
    "values": odd_values,
    "words": odd_words,
    "records": odd_records,
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    return tmp_path_factory.mktemp("ran")


@pytest.mark.parametrize("mischief", MISCHIEF)
def test_no_verb_hangs_or_crashes(lawsweep, toy_sweep, folder, ran, mischief):
    if not (ran / "results").is_dir():
        assert lawsweep("run", "toys", "--no-analysis")[0] == 0
        shutil.copytree(folder / "results", ran / "results")
    else:
        shutil.copytree(ran / "results", folder / "results")
    before = (folder / "toys.csv", lawsweep("export", "toys", "-o", "toys.csv"))[0].read_text()
    run_id = pq.read_table(part_of(folder))["run_id"][0].as_py()
    MISCHIEF[mischief](folder)
    for words in (
        ["plan", "toys"], ["status", "toys"], ["run", "toys"], ["show", run_id],
        ["fit", "toys"], ["export", "toys", "-o", "again.csv"], ["report", "toys"],
        ["sql", "select count(*) from toy"], ["compare", "toys", "toys"],
        ["archive", "toys", "-o", "out"], ["verify"], ["verify", "toys"], ["verify", "out"],
        ["logs", "toys"], ["cancel", "toys"],
        ["gc", "--orphans"], ["gc", "--delete"], ["compact"], ["rerun", "toys", "--failed"],
    ):  # fmt: skip
        code, out, err = lawsweep(*words)
        assert code != 1, (words, err)
        assert "\x1b[31m" not in out + err
        # Looking at what is broken is a finding; looking at nothing broken is an answer.
        expected = {"verify": (0, 6), "logs": (10, 13), "cancel": (0, 10)}.get(words[0], (0,))
        assert code in expected, (words, out, err)
    assert (folder / "again.csv").read_text() == before


def test_what_is_passed_over_is_named(lawsweep, toy_sweep, folder):
    assert lawsweep("run", "toys", "--no-analysis")[0] == 0
    link_to_nothing(part_of(folder).with_name("part-link.parquet"))
    rewritten(folder, bad_text, "part-text.parquet")
    rewritten(folder, bad_time, "part-time.parquet")
    code, _, err = lawsweep("fit", "toys")
    assert code == 0
    for name, reason in (
        ("link", "it is a link to nothing"),
        ("text", "torn or not Parquet (Column 0: In chunk 0: Invalid"),
        ("time", "started_at has a time out of range"),
    ):
        assert f"part-{name}.parquet: " in err
        assert reason in err
    assert json.loads(lawsweep("status", "toys", "--json")[1])["statuses"] == {"ok": 8}
