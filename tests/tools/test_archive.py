from __future__ import annotations

import dataclasses
import getpass
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from outside import ONE_AFTER_THE_OTHER

import lawsweep
from lawsweep import Sweep
from lawsweep.core.errors import InvalidValueError, StoreError
from lawsweep.core.registry import find_experiment
from lawsweep.grid.plan import make_plan
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.tools.archive import archive
from lawsweep.tools.archive_check import MANIFEST, is_archive, verify_archive
from lawsweep.tools.packing import scrub, scrub_launch, scrub_rows, sources
from lawsweep.tools.replay import replay


def unzip(path, folder):
    with zipfile.ZipFile(path) as file:
        file.extractall(folder)
    (top,) = folder.iterdir()
    return top


def files_of(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_an_archive_stands_for_itself_elsewhere(spectra, folder, tmp_path_factory, monkeypatch):
    done = archive(spectra)
    assert done.path == Path("spectra.zip")
    assert (done.n_rows, done.certificate) == (4, "4 planned: 4 ok")
    place = tmp_path_factory.mktemp("elsewhere")
    top = unzip(folder / done.path, place)
    assert len(files_of(top)) == done.n_files
    before = lawsweep.open(spectra).rows()
    arrays = {k: v.copy() for k, v in lawsweep.load_arrays(spectra, "eigenvalues").items()}
    run_ids = lawsweep.load(spectra)["run_id"].to_list()
    (folder / "results").rename(folder / "gone")
    monkeypatch.chdir(top)
    assert verify_archive(".") == []
    loaded = lawsweep.load_sweep("spectra")
    report = lawsweep.run(loaded)
    assert (report.planned, report.done_before, dict(report.statuses)) == (4, 4, {})
    assert lawsweep.open(loaded).rows().equals(before)
    for run_id, values in lawsweep.load_arrays(loaded, "eigenvalues").items():
        np.testing.assert_array_equal(values, arrays[run_id])
    assert replay(run_ids[0]).exact
    assert replay(run_ids[0]).reproduced


@pytest.mark.slow
def test_the_command_line_works_in_it_without_the_users_folder(toys, folder, tmp_path_factory):
    top = unzip(archive(toys).path, tmp_path_factory.mktemp("elsewhere"))
    own = "results/sweeps/toys"
    words = (["run", "toys"], ["replay", "--sample", "2", "toys"], ["fit", "toys"])
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER, json.dumps([[*w, "results_dir=results"]
                                                                for w in words])],
        cwd=top, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.split("\f")[:-1]
    ran, *_ = told[::2]
    assert told[1::2] == ["0", "0", "0"]
    assert "nothing to run: every planned run is in the table already" in ran
    # A run freezes the sweep anew, in the words of its own configuration, and takes the folder
    # for the file that it was asked for by; all else is untouched.
    changed = {name for name, _ in verify_archive(top)}
    assert changed <= {f"{own}/sweep.yaml", f"{own}/question.json"}


def test_the_same_results_give_the_same_bytes(toys, folder):
    first = archive(toys, "a.zip").path.read_bytes()
    assert archive(toys, folder / "b.zip").path.read_bytes() == first
    with zipfile.ZipFile("a.zip") as file:
        assert {i.date_time for i in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {i.filename.split("/")[0] for i in file.infolist()} == {"toys"}
    archive(toys, "out")
    with zipfile.ZipFile("a.zip") as file:
        for name in files_of(folder / "out"):
            assert file.read(f"toys/{name}") == (folder / "out" / name).read_bytes()


def test_every_attempt_and_the_launches_of_other_sweeps_come_along(toys, folder):
    table = ParquetTable(toys.tables, toys.find_experiment())
    rows = [r for r in table.read().to_pylist() if r["n"] == 10]
    table.append([{**rows[0], "status": "failed", "attempt": 2, "started_at": datetime.now(UTC)}])
    table.append([{**rows[1], "y": 0.0, "attempt": 2, "started_at": datetime.now(UTC)}])
    smaller = dataclasses.replace(toys, name="smaller", axes={"n": [10, 160]})
    lawsweep.run(smaller)
    archive(smaller, "out")
    (part,) = (folder / "out/results/tables/toy").iterdir()
    kept = pq.read_table(part)
    assert sorted(kept["attempt"].to_pylist()) == [1, 1, 1, 1, 2, 2]
    assert set(kept["run_id"].to_pylist()) == set(smaller.plan().run_ids)
    assert kept.schema.field("y").metadata[b"unit"] == b"m"
    launches = {p.stem for p in (folder / "out").glob("results/sweeps/*/launches/*.json")}
    assert launches == set(kept["launch_id"].to_pylist())
    assert len(launches) == 2
    assert sorted(p.name for p in (folder / "out/results/sweeps").iterdir()) == ["smaller", "toys"]


def test_no_path_and_no_user_of_this_machine_is_in_it(folder):
    home = str(Path.home())
    source = folder / "mine" / "private"
    source.mkdir(parents=True)
    (source / "leaky.py").write_text(
        "from toys import *\n@experiment(version=1)\n"
        "def leaky(params: FaultParams, seed: int) -> FaultMetrics:\n"
        f"    raise ValueError('cannot read {home}/secret/data.npz and {folder}/x/y.bin')\n"
    )
    sys.path.insert(0, str(source))
    try:
        results = folder / "deep" / "results"
        sweep = Sweep(
            name="leaks",
            experiment="leaky:leaky",
            axes={"i": [1, 2]},
            executor={"kind": "serial"},
            results_dir=str(results),
            overrides=(f"results_dir={results}",),
        )
        lawsweep.run(
            sweep, command=f"lawsweep run {folder}/sweeps/leaks.yaml results_dir={results}"
        )
        archive(sweep, "out")
    finally:
        sys.path.remove(str(source))
        sys.modules.pop("leaky")
    assert (folder / "out/leaky.py").is_file()
    banned = [str(folder), f"{home}/", str(Path(__file__).parent)]
    if getpass.getuser() not in ("root", "user"):
        banned.append(getpass.getuser())
    for name in files_of(folder / "out") - {"leaky.py", MANIFEST}:
        data = (folder / "out" / name).read_bytes()
        if name.endswith(".parquet"):
            table = pq.read_table(folder / "out" / name)
            data = json.dumps(table.to_pylist(), default=str).encode() + str(table.schema).encode()
        for text in banned:
            assert text.encode() not in data, (name, text)
    (part,) = (folder / "out/results/tables/leaky").iterdir()
    row = pq.read_table(part).to_pylist()[0]
    assert "data.npz and .../y.bin" in row["error"]
    assert "leaky.py" in row["traceback"]
    (launch,) = (folder / "out/results/sweeps/leaks/launches").glob("*.json")
    record = json.loads(launch.read_text())
    assert record["command"] == "lawsweep run .../leaks.yaml"
    assert record["overrides"] == []
    assert record["config"]["results_dir"] == "results"
    assert "pid" not in record
    assert record["packages"]["numpy"] == np.__version__


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see /data/alice/run.py, line 3", "see .../run.py, line 3"),
        ('File "/opt/x/y.py"', 'File ".../y.py"'),
        ("a=/a/b/c:/d/e", "a=.../c:.../e"),
        ("file:///data/x/y", ".../y"),
        ("/home/alice/x/y.py", "~/x/y.py"),
        ("/Users/alice", "~"),
        ("results/tables/toy", "results/tables/toy"),
        ("./a/b and ../a/b and ~/a/b", "./a/b and ../a/b and ~/a/b"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("d/N and 1/2 and N/M/K", "d/N and 1/2 and N/M/K"),
        ("<td>a</td><th>b</th>", "<td>a</td><th>b</th>"),
        ("png;base64,iVBOR/ab/cd+/ef/gh==", "png;base64,iVBOR/ab/cd+/ef/gh=="),
    ],
)  # fmt: skip
def test_scrub_takes_paths_and_nothing_else(text, expected):
    assert scrub(text) == expected


def test_a_torn_launch_record_is_left_out(toys, folder):
    with pytest.raises(ValueError, match="Expecting value"):
        scrub_launch(b"torn")
    with pytest.raises(ValueError, match="is a mapping"):
        scrub_launch(b"[]")
    (folder / "results/sweeps/toys/launches/x.json").write_text("{torn")
    archive(toys, "out")
    names = {p.name for p in (folder / "out/results/sweeps/toys/launches").iterdir()}
    assert "x.json" not in names
    assert len(names) == 3  # record, plan, code


def test_scrubbed_rows_keep_their_schema():
    schema = pa.schema([pa.field("error", pa.string(), metadata={"meaning": "why"})])
    rows = pa.Table.from_pylist([{"error": "/a/b/c"}, {"error": None}], schema=schema)
    done = scrub_rows(rows)
    assert done.schema.equals(schema, check_metadata=True)
    assert done["error"].to_pylist() == [".../c", None]


def test_the_sources_are_the_experiments_own_files(module, folder):
    (folder / "kit" / "deep").mkdir(parents=True)
    for name, text in {
        "kit/__init__.py": "",
        "kit/deep/__init__.py": "from . import tools\n",
        "kit/deep/tools.py": "from ..shared import x\n",
        "kit/shared.py": "import numpy\nx = 1\n",
        "kit/unused.py": "",
        "other.py": "",
    }.items():
        (folder / name).write_text(text)
    find = module(
        "own",
        """
        import kit.deep
        from toys import *

        @experiment(version=1)
        def own(params: Params, seed: int) -> Metrics:
            import other
        """,
    )
    found, notes = sources(make_plan(find("own"), axes={"n": [1]}))
    assert [n for n, _ in found] == [
        "kit/__init__.py", "kit/deep/__init__.py", "kit/deep/tools.py", "kit/shared.py",
        "other.py", "own.py", "toys.py",
    ]  # fmt: skip
    assert notes == []
    assert dict(found)["kit/shared.py"] == b"import numpy\nx = 1\n"
    for name in ("kit", "kit.deep"):
        sys.modules.pop(name, None)


def test_an_installed_experiment_needs_no_source_and_one_in_no_file_is_noted(folder):
    plan = make_plan(
        find_experiment("compression"), params={"n_target": 3, "n_compressed": 2, "input_dim": 2}
    )
    assert sources(plan) == ([], [])
    toy = find_experiment("toys:toy")
    scope = {"toy": toy}
    exec("def nowhere(params, seed): ...", scope)
    made = dataclasses.replace(toy, function=scope["nowhere"])
    found, notes = sources(make_plan(made, axes={"n": [1]}))
    assert found == []
    assert "is in no file" in notes[0]


def test_the_manifest_is_that_of_sha256sum_and_the_readme_tells_how(toys, folder):
    archive(toys, "out")
    listed = dict(
        reversed(line.split("  ")) for line in (folder / "out" / MANIFEST).read_text().splitlines()
    )
    assert set(listed) == files_of(folder / "out") - {MANIFEST}
    for name, digest in listed.items():
        assert hashlib.sha256((folder / "out" / name).read_bytes()).hexdigest() == digest
    text = (folder / "out/README.txt").read_text()
    for part in ("8 planned: 8 ok", "sha256sum -c", "lawsweep replay --sample 20 toys", "toys.py"):
        assert part in text
    lines = (folder / "out/environment.txt").read_text().splitlines()
    assert f"numpy=={np.__version__}" in lines
    assert all(re.fullmatch(r"# Python .*|[A-Za-z0-9._-]+==\S+", x) for x in lines)
    names = files_of(folder / "out")
    figures = {n for n in names if "/figures/" in n}
    assert figures == set()  # this sweep names none
    assert "results/sweeps/toys/report.html" in names
    assert "results/sweeps/toys/plan.parquet" in names


def test_tampering_is_found_in_a_folder_and_in_a_zip(toys, folder):
    archive(toys, "out")
    assert is_archive("out")
    assert not is_archive("results")
    assert verify_archive("out") == []
    (folder / "out/__pycache__").mkdir()
    (folder / "out/__pycache__/toys.pyc").write_text("")  # work beside it is no damage
    assert verify_archive("out") == []
    (folder / "out/toys.py").write_text("changed")
    (folder / "out/environment.txt").unlink()
    (folder / "out/results/tables/toy/part-x.parquet").write_text("added")
    assert verify_archive("out") == [
        ("environment.txt", "missing"),
        ("results/tables/toy/part-x.parquet", "not in the manifest"),
        ("toys.py", "its content was changed"),
    ]
    archive(toys, "a.zip")
    assert verify_archive("a.zip") == []
    with zipfile.ZipFile("a.zip") as old, zipfile.ZipFile("b.zip", "w") as new:
        for info in old.infolist():
            if not info.filename.endswith("README.txt"):
                data = old.read(info)
                changed = info.filename.endswith("toys.yaml")
                new.writestr(info.filename, data + b" " if changed else data)
        new.writestr("toys/extra", "")
    assert verify_archive("b.zip") == [
        ("README.txt", "missing"),
        ("extra", "not in the manifest"),
        ("sweeps/toys.yaml", "its content was changed"),
    ]
    data = bytearray((folder / "a.zip").read_bytes())
    with zipfile.ZipFile("a.zip") as file:
        info = file.getinfo("toys/results/sweeps/toys/plan.parquet")
    data[info.header_offset + 200] ^= 1
    (folder / "c.zip").write_bytes(data)
    assert verify_archive("c.zip") == [
        ("results/sweeps/toys/plan.parquet", "its content was changed")
    ]


def test_what_is_no_archive_is_one_sentence(folder):
    (folder / "torn.zip").write_text("no zip")
    with zipfile.ZipFile("other.zip", "w") as file:
        file.writestr("a", "b")
    for name, reason in (("torn.zip", "not a zip"), ("other.zip", "it has no MANIFEST"),
                         ("none.zip", "No such file")):  # fmt: skip
        with pytest.raises(StoreError, match=f"Cannot read the archive {name}: .*{reason}"):
            verify_archive(name)


def test_an_archive_writes_into_a_new_folder_or_none(toys, folder):
    (folder / "full").mkdir()
    (folder / "full/x").write_text("")
    with pytest.raises(InvalidValueError, match="The folder full is there already; name another"):
        archive(toys, "full")
    (folder / "old.zip").write_bytes(b"precious")
    with pytest.raises(
        InvalidValueError, match=r"The file old\.zip is there already; name another"
    ):
        archive(toys, "old.zip")
    assert (folder / "old.zip").read_bytes() == b"precious"
    with pytest.raises(StoreError, match="Cannot write"):
        archive(toys, "/proc/nowhere/a.zip")
    archive(dataclasses.replace(toys, results_dir="empty"), "none.zip")  # a plan without a row
    assert verify_archive("none.zip") == []
