"""Whatever lies in the store, every verb passes it over or names it: none hangs, none crashes."""

from __future__ import annotations

import json
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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
    n = 5 * 10**6
    table = pq.read_table(part_of(folder)).slice(0, 1)
    many = pa.table([pa.repeat(c[0], n) for c in table.columns], schema=table.schema)
    pq.write_table(many, part_of(folder).with_name("part-f.parquet"), compression="zstd")


MISCHIEF = {
    "dangling link": lambda f: link_to_nothing(part_of(f).with_name("part-z.parquet")),
    "dangling record": lambda f: link_to_nothing(f / "results/sweeps/toys/launches/x.json"),
    "pipe as part": lambda f: fifo(part_of(f).with_name("part-z.parquet")),
    "pipe as record": lambda f: fifo(f / "results/sweeps/toys/launches/x.json"),
    "pipe as sign of life": lambda f: fifo(f / "results/sweeps/toys/launches/x.live"),
    "pipe as plan": lambda f: fifo(f / "results/sweeps/toys/launches/x.plan.parquet"),
    "pipe as job": lambda f: fifo(f / "results/sweeps/toys/jobs/x.json"),
    "sparse part": lambda f: sparse(part_of(f).with_name("part-z.parquet")),
    "sparse record": lambda f: sparse(f / "results/sweeps/toys/launches/x.json"),
    "sparse sign of life": lambda f: sparse(f / "results/sweeps/toys/launches/x.live"),
    "sparse plan": lambda f: sparse(f / "results/sweeps/toys/launches/x.plan.parquet"),
    "folder as part": lambda f: directory(part_of(f).with_name("part-z.parquet")),
    "folder as record": lambda f: directory(f / "results/sweeps/toys/launches/x.json"),
    "odd table": lambda f: directory(f / "results/tables/two\nlines"),
    "odd sweep": lambda f: directory(f / "results/sweeps" / os.fsdecode(b"\xff\xfe")),
    "odd array": lambda f: directory(f / "results/arrays/toy/esc\x1b[31m"),
    "file as table": lambda f: (f / "results/tables/other").write_text("x"),
    "text that is none": lambda f: rewritten(f, bad_text),
    "time out of range": lambda f: rewritten(f, bad_time),
    "column twice": lambda f: rewritten(f, lambda t: t.append_column("status", t["status"])),
    "defaults that are none": lambda f: rewritten(
        f, lambda t: told(t.drop_columns("scale"), "lawsweep.defaults", '{"scale": [1], "n": "x"}')
    ),
    "words of bytes": lambda f: rewritten(
        f, lambda t: told(told(t, b"lawsweep.function", b"\xff"), b"\xff\xfe", b"\xff")
    ),
    "covers of bytes": lambda f: rewritten(
        f,
        lambda t: told(t, b"lawsweep.compacts", b"\xff"),
        "part-0000000000000001-0000000000000002-compact.parquet",
    ),
    "many rows of nothing": claims,
    **{
        f"record {i}{ending}": lambda f, i=i, ending=ending: [
            at.write_bytes(RECORDS[i])
            for at in [f / "results/sweeps/toys" / kind / f"x{ending}"
                       for kind in (("launches", "jobs") if ending == ".json" else ("launches",))]
            if at.parent.mkdir(exist_ok=True) is None
        ]
        for i in range(len(RECORDS))
        for ending in (".json", ".live", ".plan.parquet")
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    return tmp_path_factory.mktemp("ran")


@pytest.mark.parametrize("mischief", MISCHIEF)
def test_no_verb_hangs_or_crashes(lawsweep, toy_sweep, folder, ran, mischief):
    if not (ran / "results").is_dir():
        assert lawsweep("run", "toys")[0] == 0
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
    assert lawsweep("run", "toys")[0] == 0
    link_to_nothing(part_of(folder).with_name("part-link.parquet"))
    rewritten(folder, bad_text, "part-text.parquet")
    rewritten(folder, bad_time, "part-time.parquet")
    code, _, err = lawsweep("fit", "toys")
    assert code == 0
    for name, reason in (
        ("link", "it is a link to nothing"),
        ("text", "torn or not Parquet (Invalid"),
        ("time", "started_at has a time out of range"),
    ):
        assert f"part-{name}.parquet: " in err
        assert reason in err
    assert json.loads(lawsweep("status", "toys", "--json")[1])["statuses"] == {"ok": 8}
