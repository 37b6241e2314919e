"""A whole study with its results in an object store, over the real S3 protocol."""

from __future__ import annotations

import json
import signal
import threading
import time

import driver
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from object_store import KEYS, free_port, make_bucket, s3_process
from rows import row
from toys import toy

import lawsweep
from lawsweep.cli.main import run_command
from lawsweep.core.errors import IncompatibleTableError, StoreError
from lawsweep.store.places import objects
from lawsweep.store.places.find import open_folder
from lawsweep.store.sweeps.sweep_folder import SweepFolder
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.table.part_writer import MERGE
from lawsweep.store.table.patient import PatientTable
from lawsweep.store.upkeep.gc import gc

SWEEP = """
experiment: toys:toy
axes: {n: [10, 20, 40, 80]}
seeds: 2
executor: serial
fits: [{law: power, x: n, y: y}]
figures: [{kind: curve, x: n, y: y, band: sd}]
"""


@pytest.fixture
def command(folder, s3_url, capsys, monkeypatch):
    """The command in a folder with a sweep ``toys`` whose results are in a bucket."""
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "toys.yaml").write_text(SWEEP)
    monkeypatch.setenv("LAWSWEEP_RESULTS_DIR", s3_url)

    def run(*words):
        code = run_command(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    before = signal.getsignal(signal.SIGTERM)  # `run` handles it for the rest of its process
    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
def test_a_study_in_a_bucket_from_run_to_report(command, folder, s3_url):
    results = open_folder(s3_url)
    code, out, err = command("run", "toys", "axes.n=[10,20]")
    assert code == 0, err
    assert "ran 4 in" in out
    code, out, err = command("run", "toys")
    assert code == 0, err
    assert "ran 4 in" in out
    assert f"table:  {results}/tables/toy/part-*.parquet" in out
    assert f"figure: s3://{results.bucket.name}/study/results/sweeps/toys/figures/" in out
    code, out, _ = command("run", "toys", "--no-analysis")
    assert (code, "nothing to run" in out) == (0, True)

    sweep = results / "sweeps" / "toys"
    assert sweep.names() == ["plan.parquet", "question.json", "sweep.yaml"]
    kinds = sorted(n.rpartition(".")[2] for n in (sweep / "launches").names())
    assert kinds == ["json", "parquet", "zip"]  # record, plan, code; no sign of life
    assert len((results / "sweeps").folders()) == 2  # under other axes it is another question
    assert len((sweep / "figures").names()) == 3

    _, out, _ = command("plan", "toys", "seeds=3")
    assert "12 planned" in out
    assert "8 done" in out
    _, out, _ = command("status", "toys")
    assert "8 planned: 8 ok" in out

    code, out, err = command("export", "toys")
    assert code == 0, err
    assert "8 rows" in out
    rows = pq.read_table(pa.BufferReader(sweep.read("toys.parquet"))).to_pylist()
    assert [r["status"] for r in rows] == ["ok"] * 8
    code, out, _ = command("show", rows[0]["run_id"][:10])
    assert code == 0
    assert "launch.command" in out
    code, out, _ = command("fit", "toys", "--json")
    assert abs(json.loads(out)[0]["parameters"]["exponent"]["estimate"] - 1) < 0.2
    code, out, _ = command("plot", "toys", "--json")
    assert [p.partition("?")[0][-4:] for p in json.loads(out)] == [".png", ".pdf", ".svg"]
    code, out, _ = command("report", "toys")
    assert code == 0
    page = sweep.read("report.html").decode()
    assert "8 planned: 8 ok" in page
    assert "data:image/png;base64," in page
    assert page.count('<details id="launch-') == 2
    assert sorted(p.name for p in folder.iterdir()) == ["sweeps"]


def test_results_dir_on_the_command_line_and_in_python(command, s3_url, monkeypatch):
    monkeypatch.delenv("LAWSWEEP_RESULTS_DIR")
    code, _, err = command("run", "toys", f"results_dir='{s3_url}'")
    assert code == 0, err
    sweep = lawsweep.load_sweep("toys", f"results_dir='{s3_url}'")
    frame = lawsweep.load(sweep)
    assert set(frame["status"]) == {"ok"}
    assert lawsweep.show(frame["run_id"][0], s3_url)["launch"]["sweep"] == "toys"
    url = f"{s3_url.partition('?')[0]}/copy.csv?{s3_url.partition('?')[2]}"
    assert lawsweep.export(sweep, url) == 8
    assert open_folder(s3_url).read("copy.csv").count(b"\n") == 9


@pytest.mark.parametrize("verb", ["run", "plan", "status", "export"])
def test_nobody_there_and_no_bucket_are_one_sentence_before_anything_runs(
    command, folder, s3_url, monkeypatch, verb
):
    monkeypatch.setattr(objects, "FIRST_ANSWER_S", 1.0)
    nowhere = f"s3://bucket/x?endpoint_override=127.0.0.1:{free_port()}&scheme=http"
    missing = s3_url.replace("bucket-", "no-bucket-")
    for url, message in ((nowhere, "Cannot reach s3://bucket"), (missing, "There is no bucket")):
        monkeypatch.setenv("LAWSWEEP_RESULTS_DIR", url)
        start = time.monotonic()
        code, out, err = command(verb, "toys")
        assert code == 13, (out, err)
        (line,) = [x for x in err.splitlines() if not x.startswith("note:")]
        assert line.startswith(f"lawsweep: {message}")
        assert time.monotonic() - start < 40  # a busy server is given 20 s, three times
    assert sorted(p.name for p in folder.iterdir()) == ["sweeps"]


@pytest.fixture
def table(s3_url):
    return ParquetTable(f"{s3_url.partition('?')[0]}/tables?{s3_url.partition('?')[2]}", toy)


def test_a_table_in_a_bucket_merges_and_skips_as_a_local_one(table):
    assert table.done() == {}
    table.check_writable()
    for i in range(MERGE + 2):
        table.append([row(f"{i:03d}")])
    assert len(table.parts()) == 3
    whole = table.folder.read(table.parts()[0])
    table.folder.write("part-torn.parquet", whole[: len(whole) // 2])
    table.folder.write("part-empty.parquet", b"")
    assert table.read().num_rows == MERGE + 2
    assert set(table.skipped) == {"part-torn.parquet", "part-empty.parquet"}
    assert len(table.notes()) == 2
    newer = table.schema.with_metadata({**table.schema.metadata, b"lawsweep.format": b"2"})
    sink = pa.BufferOutputStream()
    pq.write_table(newer.empty_table(), sink)
    for name in table.parts():
        table.folder.delete(name)
    table.folder.write("part-newer.parquet", sink.getvalue().to_pybytes())
    with pytest.raises(IncompatibleTableError, match="newer lawsweep"):
        table.check_writable()


def test_a_connection_that_breaks_is_no_torn_part(table, monkeypatch):
    """A part that did not arrive is not skipped: its runs would be done again."""
    table.append([row("a")])

    def broken(*_, **__):
        raise OSError("AWS Error NETWORK_CONNECTION during GetObject operation")

    monkeypatch.setattr(pq.ParquetFile, "read", broken)
    reader = ParquetTable(table.root, toy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects.ObjectFolder, "read", lambda *_: (_ for _ in ()).throw(
            StoreError("Cannot read s3://bucket")))  # fmt: skip
        with pytest.raises(StoreError, match="Cannot read"):
            reader.read()
    assert reader.read().num_rows == 0
    assert "torn" in reader.skipped[table.parts()[0]]


@pytest.mark.slow
def test_a_server_that_stops_answering_for_a_while_is_waited_for(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(objects, "ANSWER_S", 1.0)
    monkeypatch.setattr(objects, "ATTEMPTS", 1)
    with s3_process() as (endpoint, server):
        table, said = ParquetTable(make_bucket(endpoint), toy), []
        table.append([row("before")])
        server.send_signal(signal.SIGSTOP)

        def say(text):
            said.append(text)
            threading.Timer(1.0, server.send_signal, (signal.SIGCONT,)).start()

        PatientTable(table, 60.0, say).append([row("after")])
        assert [s.split()[0] for s in said] == ["paused:", "resumed"]
        assert "Cannot write in s3://" in said[0]
        # The first put may be done after all when the server wakes: it is the same part.
        assert len(table.parts()) == 2
        assert table.read()["run_id"].to_pylist() == ["before", "after"]


N_APPENDS = MERGE + 2  # each merges its own parts, once


@pytest.mark.slow
def test_four_drivers_at_once_lose_nothing_and_double_nothing(root, tmp_path):
    """On local disk and on the S3 server; they also do some of the same runs."""
    place = open_folder(root) / "tables"
    outputs = [tmp_path / f"driver{i}.txt" for i in range(4)]
    for output in outputs:
        output.touch()
    with driver.drivers() as ask:
        pids = [ask("start", place.url, p.stem, p, N_APPENDS) for p in outputs]
        reader = ParquetTable(place, toy)
        ended = dict.fromkeys(pids)
        while None in ended.values():
            known = driver.acknowledged(outputs)
            assert known <= reader.done().keys()  # a reader in the midst of it
            assert not reader.skipped
            ended |= {pid: ask("ended", pid) for pid in pids if ended[pid] is None}
    assert list(ended.values()) == [0] * 4
    rows = reader.read()["run_id"].to_pylist()
    assert len(rows) == len(set(rows))
    assert set(rows) == driver.acknowledged(outputs)
    assert len(rows) == (4 * 3 + 1) * N_APPENDS


def test_the_stores_own_clock_says_how_old_a_sign_of_life_is(s3_url, monkeypatch):
    """Whatever the time is on the host that looks; and looking leaves nothing."""
    folder = open_folder(s3_url)
    now = time.time()
    assert abs(folder.clock() - now) < 60
    assert folder.names() == []
    sweep = SweepFolder(f"{s3_url.partition('?')[0]}/sweeps/s?{s3_url.partition('?')[2]}")
    sweep.beat("L1", {"launch_id": "L1", "running": 1, "rate": 1.0, "patience_s": 60.0})
    monkeypatch.setattr(time, "time", lambda: now + 86_400)
    (sign,) = sweep.live()
    assert sign.may_write
    assert gc(folder, dry=False) == []
