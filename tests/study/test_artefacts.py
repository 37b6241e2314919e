"""Files that runs leave: kept under their ids, listed, archived, counted, and bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

import lawsweep
from lawsweep.cli.main import run_command
from lawsweep.core.during import artefacts, keeper
from lawsweep.core.errors import InvalidValueError, StoreError
from lawsweep.store.places.find import open_folder
from lawsweep.store.places.local import LocalFolder
from lawsweep.tools.archive import _artefacts
from lawsweep.tools.keeping import verify

LEAVING = """
    import os
    from pathlib import Path
    import lawsweep

    def leave(n: int):
        Path("mine.bin").write_bytes(bytes(range(n)))
        lawsweep.artefact("mine.bin", f"bytes {n}.bin")
        os.remove("mine.bin")
        if n == 3:
            raise ValueError("an unlucky number")
        return {"kept": lawsweep.artefact(f"n is {n}".encode(), "note.txt")}
"""


@pytest.fixture
def study(module):
    module("leaving", LEAVING)
    return lawsweep.open(
        lawsweep.Sweep(
            name="leaving",
            experiment="leaving.py:leave",
            axes={"n": [2, 3]},
            executor={"kind": "serial"},
        )
    )


def test_files_of_a_run_are_kept_shown_archived_counted_and_discarded(study, folder, capsys):
    assert dict(study.run().statuses) == {"ok": 1, "failed": 1}
    two, three = study.plan.run_ids
    home = folder / "results" / "artefacts" / "leaving_leave"
    assert (home / two / "note.txt").read_bytes() == b"n is 2"
    found = study.show(two)["artefacts"]
    assert [(a["name"], a["n_bytes"]) for a in found] == [("bytes 2.bin", 2), ("note.txt", 6)]
    assert [a["name"] for a in study.show(three)["artefacts"]] == ["bytes 3.bin"]
    assert run_command(["show", two[:8]]) == 0
    assert f"leaving_leave/{two}/note.txt" in capsys.readouterr().out
    (home / two / "link.txt").symlink_to("/etc/hostname")  # might bring in anything of a machine
    kept = dict(_artefacts(open_folder("results"), "leaving_leave", [two]))
    assert kept == {
        f"results/artefacts/leaving_leave/{two}/bytes 2.bin": b"\x00\x01",
        f"results/artefacts/leaving_leave/{two}/note.txt": b"n is 2",
    }
    (home / two / "link.txt").unlink()
    (findings,) = verify(study)[0].values()
    assert [f.message for f in findings if f.check == "artefacts"] == [
        "3 artefacts of 2 runs, 11 bytes"
    ]
    study.discard("n == 2")
    assert sorted(p.name for p in home.rglob("*") if p.is_file()) == ["bytes 3.bin"]


def test_what_is_no_artefact_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("abc")
    assert lawsweep.artefact(tmp_path / "a.txt") is False  # outside a launch it is checked
    monkeypatch.setattr(artefacts, "MOST_BYTES", 2)
    for given, says in [
        ((b"x",), "bytes and no name"),
        ((tmp_path / "none",), "there is no file"),
        ((tmp_path,), "there is no file"),
        ((3,), "got int"),
        ((b"x", "../out"), r"no folders\), got '\.\./out'"),
        ((b"x", ".hidden"), "named by letters"),
        ((b"x", "µ" * 101), "named by letters"),  # 202 bytes
        ((tmp_path / "a.txt",), r"at most 2 bytes, and .*a\.txt has 3"),
    ]:
        with pytest.raises(InvalidValueError, match=says):
            lawsweep.artefact(*given)


def test_too_much_of_a_run_is_its_failure_and_a_full_disk_is_not(study, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(keeper, "MOST_RUN_BYTES", 7)
        study.run()
    assert study.rows()["status"].to_pylist() == ["failed", "failed"]
    told = "at most 7 bytes together, and with note.txt these have 8"
    assert told in study.rows()["error"][0].as_py()
    real = LocalFolder.write

    def full(self, name, data, **named):
        if name == "note.txt":
            raise StoreError("No space left on device")
        real(self, name, data, **named)

    monkeypatch.setattr(LocalFolder, "write", full)
    study.run(retry=True)
    again = lawsweep.open(study.sweep)  # which metrics there are it learnt meanwhile
    assert again.rows()["kept"].to_pylist() == [False, None]
    assert "note.txt could not be kept, and the run goes on: No space" in capsys.readouterr().err
    (one,) = study.show(study.plan.run_ids[0])["artefacts"]
    assert Path(one["where"]).read_bytes() == b"\x00\x01"
