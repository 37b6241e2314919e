"""Archives that somebody else sent, damaged or crafted: never a crash, never a pass."""

from __future__ import annotations

import io
import os
import random
import sys
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import pytest
from study_fixtures import run_toys

from lawsweep.core.errors import InvalidValueError, StoreError
from lawsweep.tools import archive_check
from lawsweep.tools.archive import archive
from lawsweep.tools.archive_check import MANIFEST, verify_archive


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        patch.delenv("LAWSWEEP_RESULTS_DIR", raising=False)
        return archive(run_toys(), "a.zip").path.read_bytes()


def members(data):
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return [(info, file.read(info)) for info in file.infolist()]


def write(name, entries):
    """A zip of (name or ZipInfo, bytes) pairs, doubled names and all."""
    with zipfile.ZipFile(name, "w") as file, warnings.catch_warnings(action="ignore"):
        for info, data in entries:
            file.writestr(info, data)


def contents(data):
    """What an unpacker would write: name to content, or None where it cannot tell."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            return {n: file.read(n) for n in file.namelist()}
    except Exception:  # noqa: BLE001  (whatever zipfile raises for damage)
        return None


def test_a_flipped_bit_anywhere_is_a_finding_or_harmless(whole, folder):
    draw, good, n_found = random.Random(5), contents(whole), 0
    for _ in range(200):
        data = bytearray(whole)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        (folder / "b.zip").write_bytes(data)
        found: list[object] = []
        try:
            found += verify_archive("b.zip")
        except StoreError as error:
            found.append(error)
        n_found += bool(found)
        assert found or contents(data) == good
    assert n_found > 150


def test_cut_short_anywhere_it_is_no_archive(whole, folder):
    for size in range(0, len(whole), len(whole) // 40):
        (folder / "b.zip").write_bytes(whole[:size])
        with pytest.raises(StoreError, match="Cannot read the archive"):
            verify_archive("b.zip")


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/x", "other/x", "toys/../../x", "toys\\..\\x", "toys/./x", "toys//x"]
)
def test_a_member_outside_the_archives_folder_is_named(whole, folder, name):
    write("b.zip", [*members(whole), (name, b"evil")])
    ((shown, reason),) = verify_archive("b.zip")
    assert reason == "lies outside the archive's folder"
    assert shown == name.removeprefix("toys/")


def test_a_manifest_that_leads_out_is_named(whole, folder):
    evil = "0" * 64 + "  ../../evil\n"
    entries = [(i, d + evil.encode() if i.filename.endswith(MANIFEST) else d)
               for i, d in members(whole)]  # fmt: skip
    write("b.zip", entries)
    assert verify_archive("b.zip") == [("../../evil", "in the manifest, lies outside the archive")]
    (folder / "secret").write_bytes(b"x")
    with zipfile.ZipFile("b.zip") as file:
        file.extractall("out")
    assert verify_archive("out/toys") == [
        ("../../evil", "in the manifest, lies outside the archive")
    ]


def test_a_doubled_member_is_named_whichever_comes_first(whole, folder):
    evil = ("toys/toys.py", b"evil")
    for entries in ([*members(whole), evil], [evil, *members(whole)]):
        write("b.zip", entries)
        assert verify_archive("b.zip") == [("toys.py", "is in the archive 2 times")]


def test_links_and_encrypted_members_are_named(whole, folder):
    link = zipfile.ZipInfo("toys/link")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    write("b.zip", [*members(whole), (link, b"/etc/passwd")])
    reason = "is a folder or link, and no file of an archive is"
    assert verify_archive("b.zip") == [("link", reason)]
    data = bytearray(whole)
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"toys/toys.py"))
    data[at + 8] |= 1
    (folder / "b.zip").write_bytes(data)
    assert verify_archive("b.zip") == [("toys.py", "is encrypted")]


def test_a_bomb_is_named_and_large_files_are_streamed(whole, folder, monkeypatch):
    monkeypatch.setattr(archive_check, "MOST_UNPACKED", 2**20)
    bomb = zipfile.ZipInfo("toys/bomb")
    bomb.compress_type = zipfile.ZIP_DEFLATED
    write("b.zip", [*members(whole), (bomb, bytes(2**25)), ("toys/large", os.urandom(2**25))])
    tracemalloc.start()
    found = dict(verify_archive("b.zip"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["bomb"].startswith("would unpack")
    assert found["bomb"].endswith("33,554,432")
    assert found["large"] == "not in the manifest"
    assert peak < 2**24


def test_overlapping_members_are_no_archive(whole, folder):
    data = bytearray(whole)
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"toys/toys.py"))
    data[at + 20 : at + 24] = (2**31).to_bytes(4, "little")
    (folder / "b.zip").write_bytes(data)
    with pytest.raises(StoreError, match="its members overlap, or claim more than there is"):
        verify_archive("b.zip")


def test_a_folder_with_links_and_pipes_is_never_followed_nor_waited_for(toys, folder):
    archive(toys, "out")
    script = folder / "out/toys.py"
    script.rename(folder / "moved.py")
    script.symlink_to(folder / "moved.py")
    os.mkfifo(folder / "out/results/pipe")
    (folder / "out/results/loop").symlink_to(folder / "out")
    reason = "is a link or device, and no file of an archive is"
    assert verify_archive("out") == [
        ("results/loop", reason), ("results/pipe", reason), ("toys.py", reason),
    ]  # fmt: skip
    (folder / "out" / MANIFEST).unlink()
    os.mkfifo(folder / "out" / MANIFEST)
    with pytest.raises(StoreError, match="it is not a regular file"):
        verify_archive("out")
    os.mkfifo(folder / "pipe.zip")
    with pytest.raises(StoreError, match="it is not a regular file"):
        verify_archive("pipe.zip")


def test_names_from_an_archive_are_shown_without_what_a_terminal_obeys(whole, folder):
    write("b.zip", [*members(whole), ("toys/\x1b[31mred", b"")])
    assert verify_archive("b.zip") == [("\\x1b[31mred", "not in the manifest")]


def test_no_link_brings_a_file_of_this_machine_into_an_archive(toys, folder):
    (folder / "secret").write_text('{"secret": "s3cr3t"}')
    at = folder / "results/sweeps/toys"
    (launch,) = (at / "launches").glob("*.json")
    plan = at / "launches" / f"{launch.stem}.plan.parquet"
    plan.unlink()
    plan.symlink_to(folder / "secret")
    (at / "launches/z.json").symlink_to(folder / "secret")
    (at / "launches/z.plan.parquet").write_text("s3cr3t")
    archive(toys, "out")
    kept = [p for p in (folder / "out").rglob("*") if p.is_file()]
    assert kept
    assert not any(b"s3cr3t" in p.read_bytes() for p in kept)
    assert verify_archive("out") == []


def test_the_temporary_file_follows_no_link_and_two_archives_do_not_meet(toys, folder):
    (folder / "precious").write_text("precious")
    (folder / ".tmp-a.zip").symlink_to(folder / "precious")
    archive(toys, "a.zip")
    assert (folder / "precious").read_text() == "precious"
    assert sorted(p.name for p in folder.glob(".tmp-*")) == [".tmp-a.zip"]

    module = sys.modules["lawsweep.tools.archive"]
    entries = module._entries

    def slowly(*args):
        yield from entries(*args)
        Path("c.zip").write_bytes(b"another's")  # made while this one was being written

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_entries", slowly)
        with pytest.raises(InvalidValueError, match=r"c\.zip was made meanwhile; name another"):
            archive(toys, "c.zip")
    assert Path("c.zip").read_bytes() == b"another's"
    assert sorted(p.name for p in folder.glob(".tmp-*")) == [".tmp-a.zip"]
