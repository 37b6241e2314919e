from __future__ import annotations

import errno
import os
import socket
import time
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from object_store import KEYS, free_port

from lawsweep.contracts.places import ODD_NAMES, PlaceContract
from lawsweep.core.errors import StoreError, UnknownNameError
from lawsweep.grid.sweep import Url, results_place
from lawsweep.store.places import objects
from lawsweep.store.places.find import open_folder, write_file
from lawsweep.store.places.folder import safe_name
from lawsweep.store.sweeps.skipping import SkippedFileWarning


class TestLocal(PlaceContract):
    @pytest.fixture
    def url(self, tmp_path):
        return str(tmp_path / "results")


class TestObjects(PlaceContract):
    @pytest.fixture
    def url(self, s3_url):
        return s3_url


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_that_lead_elsewhere(name):
    with pytest.raises(StoreError, match="Expected the name of a file"):
        safe_name(name)


def test_a_path_stays_as_it_was_given(tmp_path):
    assert str(open_folder("results") / "tables") == "results/tables"
    assert open_folder("results").url == "results"
    assert open_folder(tmp_path).is_local
    assert results_place("results") / "tables" == Path("results/tables")


def test_a_url_keeps_its_options_and_people_see_it_without():
    url = "s3://bucket/a/b?endpoint_override=localhost:9000&scheme=http"
    folder = open_folder(url) / "tables"
    assert folder.url == "s3://bucket/a/b/tables?endpoint_override=localhost:9000&scheme=http"
    assert str(folder) == "s3://bucket/a/b/tables"
    assert not folder.is_local
    assert open_folder(results_place(url) / "tables") == folder
    assert Url("s3://bucket/") / "x" == "s3://bucket/x"
    assert str(open_folder("s3://bucket")) == "s3://bucket"
    assert str(open_folder("s3://bucket") / "x") == "s3://bucket/x"
    assert str(open_folder("gs://bucket/a//b/")) == "gs://bucket/a/b"


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("hdfs://host/x", StoreError, "other stores are not supported"),
        ("file:///tmp/x", StoreError, "other stores are not supported"),
        ("s3://key:secret@bucket/x", StoreError, "holds credentials"),
        ("s3:///x", StoreError, "Expected s3://bucket/prefix"),
        ("s3://bucket/../x", StoreError, "Expected s3://bucket/prefix"),
        ("s3://bucket/x?access_key=a", UnknownNameError, "Unknown option 'access_key'"),
        ("s3://bucket/x?endpoint=a", UnknownNameError, "Did you mean 'endpoint_override'"),
        ("gs://bucket/x?region=a", UnknownNameError, "in the gs URL"),
    ],
)
def test_a_url_that_is_none_is_one_sentence(url, error, message):
    with pytest.raises(error, match=message) as caught:
        open_folder(url)
    assert "secret" not in str(caught.value)


def test_a_bucket_that_is_missing_is_one_sentence(s3_endpoint, s3_url):
    other = open_folder(s3_url.replace("bucket-", "no-bucket-"))
    for act in (other.names, other.check_writable, lambda: other.write("a", b"")):
        with pytest.raises(StoreError, match="There is no bucket s3://no-bucket-"):
            act()


@pytest.mark.parametrize("options", ["scheme=ftp", "anonymous=maybe"])
def test_options_are_checked(s3_url, options):
    with pytest.raises(StoreError, match=r"got '(ftp|maybe)'"):
        open_folder(f"{s3_url.replace('scheme=http', 'scheme=https')}&{options}").names()


@pytest.mark.parametrize("kind", ["s3", "gs"])
def test_nobody_at_the_endpoint_is_one_sentence_soon(kind, monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(objects, "FIRST_ANSWER_S", 1.0)
    url = f"{kind}://bucket/x?endpoint_override=127.0.0.1:{free_port()}&scheme=http"
    folder = open_folder(url + ("&anonymous=true" if kind == "gs" else ""))
    start = time.monotonic()
    with pytest.raises(StoreError, match=rf"Cannot reach {kind}://bucket: .* Check") as caught:
        folder.names()
    assert time.monotonic() - start < 40  # a busy server is given 20 s, three times
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_server_that_says_nothing_is_one_sentence_soon(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(objects, "FIRST_ANSWER_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        start = time.monotonic()
        with pytest.raises(StoreError, match="Cannot reach s3://bucket"):
            open_folder(f"s3://bucket/x?endpoint_override=127.0.0.1:{port}&scheme=http").names()
        assert time.monotonic() - start < 40  # a busy server is given 20 s, three times


def test_the_endpoint_may_come_from_the_environment(s3_endpoint, s3_url, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3_endpoint}")
    bare = s3_url.partition("?")[0]
    open_folder(bare).write("a", b"x")
    assert open_folder(s3_url).read("a") == b"x"


def test_trouble_after_the_first_contact_is_a_store_error(s3_url, monkeypatch):
    folder = open_folder(s3_url)
    folder.write("a", b"x")

    class Broken:
        def __getattr__(self, name):
            def fail(*_, **__):
                raise OSError("When reading: AWS Error NETWORK_CONNECTION (Request ID: x)\nmore")

            return fail

    monkeypatch.setattr(objects, "_connect", lambda bucket: Broken())
    for what, act in (
        ("read", folder.names),
        ("read", lambda: folder.read("a")),
        ("read", lambda: folder.open("a")),
        ("read", lambda: folder.modified("a")),
        ("write in", lambda: folder.write("a", b"")),
        ("remove files from", lambda: folder.delete("a")),
    ):
        with pytest.raises(StoreError, match=rf"Cannot {what} s3://.*: When reading") as caught:
            act()
        assert "Request ID" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_goes_to_a_path_or_a_url(tmp_path, s3_url):
    write_file(tmp_path / "x" / "a.csv", b"1")
    assert (tmp_path / "x" / "a.csv").read_bytes() == b"1"
    write_file(Url(s3_url) / "x" / "a.csv", b"2")
    assert (open_folder(s3_url) / "x").read("a.csv") == b"2"


def test_strange_entries_of_a_local_folder(tmp_path, monkeypatch):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / ".nfs0001").write_bytes(b"ghost")
    (tmp_path / ".tmp-x").write_bytes(b"half")
    (tmp_path / "inner").mkdir()
    os.mkfifo(tmp_path / "pipe")
    folder = open_folder(tmp_path)
    assert folder.names() == [".tmp-x", "gone", "loop", "pipe"]
    assert folder.folders() == ["inner"]
    with pytest.raises(StoreError, match="loop"):
        folder.read("loop")
    with pytest.raises(StoreError, match="Too many levels"):
        folder.open("loop")
    for name in ("pipe", "inner"):
        for look in (folder.open, folder.read):
            with pytest.raises(StoreError, match="not a file"):
                look(name)
    for look in (folder.open, folder.read, folder.size, folder.modified):
        with pytest.raises(StoreError, match="it is a link to nothing"):
            look("gone")
        with pytest.raises(FileNotFoundError):
            look("never")
    (tmp_path / "link").symlink_to(".tmp-x")
    assert folder.read("link") == b"half"
    with pytest.raises(StoreError, match="it is a link"):
        folder.read("link", follow=False)
    os.truncate(tmp_path / ".tmp-x", 2**41)  # of no blocks
    with pytest.raises(StoreError, match=r"at most 1,000 bytes, got 2,199,023,255,552"):
        folder.read(".tmp-x", most=1000)
    with pytest.raises(StoreError, match="expected at most"):
        folder.read(".tmp-x")
    os.truncate(tmp_path / ".tmp-x", 0)

    def stale(*_, **__):
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "open", stale)
    with pytest.raises(FileNotFoundError):
        folder.read(".tmp-x")


def test_names_that_nobody_could_show_are_passed_over_with_a_warning(tmp_path):
    for name in (b"two\nlines", b"\xff\xfe", b"esc\x1b[31m", b"c1\xc2\x9b"):
        (tmp_path / os.fsdecode(name)).mkdir()
    (tmp_path / "tänh").mkdir()
    with pytest.warns(SkippedFileWarning) as told:
        assert open_folder(tmp_path).folders() == ["tänh"]
    assert sorted(str(w.message).partition("/'")[2][:6] for w in told) == [
        "\\udcff", "c1\\x9b", "esc\\x1", "two\\nl",
    ]  # fmt: skip


def test_a_vanished_folder_is_not_made_again(tmp_path):
    folder = open_folder(tmp_path / "mount" / "tables")
    folder.write("a", b"x")
    (tmp_path / "mount").rename(tmp_path / "away")
    with pytest.raises(StoreError, match="has vanished"):
        folder.write("b", b"x", create=False)
    assert not (tmp_path / "mount").exists()
    (tmp_path / "away").rename(tmp_path / "mount")
    folder.write("b", b"x", create=False)
    assert folder.names() == ["a", "b"]


def test_the_local_store_is_not_pyarrows(tmp_path, monkeypatch):
    """Its files are neither synced nor renamed, so a crash may leave half of one."""

    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr(pafs, "LocalFileSystem", refuse)
    open_folder(tmp_path).write("a", b"x")
    assert open_folder(tmp_path).read("a") == b"x"
