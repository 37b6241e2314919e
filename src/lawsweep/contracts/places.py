"""What every place of the store owes the table: files that are whole or not there, and durable."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lawsweep.contracts.toys import spectrum
from lawsweep.core.errors import StoreError
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure, results_place
from lawsweep.launch import loop
from lawsweep.store.places.find import open_folder, write_file
from lawsweep.store.places.folder import Folder
from lawsweep.store.table.parquet import ParquetTable

ODD_NAMES = ["../x", "..", ".", "", "/etc/passwd", "a/b", "a\\b", "a\x00b"]


class PlaceContract:
    """Inherit it, and override ``url``: an empty folder of the place, in a store that is there."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        """The path or URL of a folder that holds nothing yet."""
        raise NotImplementedError

    @pytest.fixture
    def folder(self, url: str) -> Folder:
        """A folder in it."""
        return open_folder(url) / "deep"

    def test_what_is_written_is_read_whole_and_listed(self, folder: Folder) -> None:
        assert folder.names() == []
        assert folder.folders() == []
        folder.write("b", b"one")
        folder.write("b", b"two")
        folder.write("a.parquet", b"")
        (folder / "inner").write("c", bytes(range(256)) * 40)
        assert folder.read("b") == b"two"
        assert folder.size("b") == 3
        assert folder.names() == ["a.parquet", "b"]
        assert folder.folders() == ["inner"]
        with (folder / "inner").open("c") as file:
            file.seek(254)
            assert file.read(3) == b"\xfe\xff\x00"
            assert file.size() == 256 * 40

    def test_its_clock_is_that_of_its_files(self, folder: Folder) -> None:
        before = folder.clock()
        folder.write("a", b"x")
        assert before - 2 <= folder.modified("a") <= folder.clock() + 2
        assert abs(folder.modified("a") - time.time()) < 600

    def test_a_missing_file_is_file_not_found_and_deleting_it_is_fine(self, folder: Folder) -> None:
        looks: tuple[Any, ...] = (folder.read, folder.open, folder.modified, folder.size)
        for look in looks:
            with pytest.raises(FileNotFoundError):
                look("none")
        folder.delete("none")
        folder.write("a", b"x")
        folder.delete("a")
        folder.delete("a")
        assert folder.names() == []

    def test_a_folder_opens_again_from_its_url(self, folder: Folder) -> None:
        folder.write("a", b"x")
        again = open_folder(folder.url)
        assert again == folder
        assert again.read("a") == b"x"
        assert open_folder(folder) is folder
        assert (folder.parent / "deep") == folder
        assert folder.name == "deep"
        assert folder.held() == folder

    def test_deeper_is_the_same_by_name_and_by_url(self, url: str, folder: Folder) -> None:
        folder.write("a", b"x")
        assert open_folder(results_place(url) / "deep") == folder
        write_file(results_place(url) / "deep" / "b", b"y")
        assert folder.names() == ["a", "b"]

    def test_probing_leaves_no_file(self, folder: Folder) -> None:
        folder.check_writable()
        assert folder.names() == []

    def test_a_file_that_is_larger_than_it_may_be_is_refused(self, folder: Folder) -> None:
        folder.write("a", b"12345")
        assert folder.read("a", most=5) == b"12345"
        with pytest.raises(StoreError, match="at most 4 bytes, got 5"):
            folder.read("a", most=4)

    def test_a_large_file_is_whole(self, folder: Folder) -> None:
        data = bytes(range(256)) * (23 * 2**12)
        folder.write("large", data)
        assert folder.read("large") == data

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_no_name_leads_out_of_the_folder(self, folder: Folder, name: str) -> None:
        acts: tuple[Any, ...] = (
            folder.read, folder.open, folder.delete, folder.modified, folder.size,
            lambda n: folder.write(n, b"x"), lambda n: folder / n,
        )  # fmt: skip
        for act in acts:
            with pytest.raises(StoreError, match="outside the store"):
                act(name)

    def test_who_reads_while_others_write_finds_a_file_whole(self, folder: Folder) -> None:
        contents = [bytes([i]) * 200_000 for i in range(3)]
        folder.write("a", contents[0])
        stop, seen = threading.Event(), set()

        def write() -> None:
            while not stop.is_set():
                for content in contents:
                    folder.write("a", content)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(20):
                seen.add(open_folder(folder.url).read("a"))
        finally:
            stop.set()
            writer.join()
        assert seen <= set(contents)
        assert folder.names() == ["a"]

    def test_a_launch_keeps_its_rows_and_arrays_there(self, url: str) -> None:
        from lawsweep.executors.serial import SerialExecutor

        plan = make_plan(spectrum, axes={"n": [3, 5]}, seeds=2)
        executor = SerialExecutor()
        executor.start(spectrum)
        for done_before in (0, 4):
            table = ParquetTable(results_place(url) / "tables", spectrum)
            policy = OnFailure()
            report = loop.Loop(plan, table, executor, launch_id="L", on_failure=policy).run()
            assert report.done_before == done_before
        table = ParquetTable(results_place(url) / "tables", spectrum)
        assert table.read(plan.run_ids)["status"].to_pylist() == ["ok"] * 4
        assert set(table.array_store.table("eigenvalues").values()) == set(plan.run_ids)
        assert table.skipped == {}
