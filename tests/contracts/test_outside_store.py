"""A store place from another package, found by its scheme: the contract, and a study in it."""

from __future__ import annotations

import pytest
from outside import Package, write_study


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    offers = {"lawsweep.stores": {"shelf": "shelf:Shelf.parse"}}
    return Package(tmp_path_factory.mktemp("site"), "lawsweep-shelf", ["shelf"], offers)


def test_it_passes_the_contract_that_ships(package, tmp_path):
    package.tests(
        tmp_path,
        "import pytest\nfrom lawsweep.contracts import PlaceContract\n\n\n"
        "class TestShelf(PlaceContract):\n"
        "    @pytest.fixture\n"
        "    def url(self, tmp_path):\n"
        '        return f"shelf://{tmp_path}/study.shelf/results"\n',
    )


def test_a_study_lives_in_it(package, tmp_path):
    write_study(tmp_path)
    there = "results_dir=shelf://study.shelf/results"
    _, status, export = package.commands(
        tmp_path,
        ("run", "study", "executor=serial", there),
        ("status", "study", there),
        ("export", "study", "-o", "rows.csv", there),
    )
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".shelf") == ["study.shelf"]
    assert not (tmp_path / "results").exists()
    assert "6 planned: 6 ok" in status
    assert "6 rows" in export
    run_id = (tmp_path / "rows.csv").read_text().splitlines()[1].partition(",")[0].strip('"')
    show, _, _, status = package.commands(
        tmp_path,
        ("show", run_id, there),
        ("verify", "square", there),
        ("compact", "square", there),
        ("status", "study", there),
    )
    assert "launch.command" in show
    assert "6 planned: 6 ok" in status


def test_a_scheme_that_nobody_offers_is_one_sentence(package, tmp_path):
    write_study(tmp_path)
    out = package.command(tmp_path, "run", "study", "results_dir=shelv://x/y", code=13)
    assert "start with gs:// or s3:// or shelf://, got shelv://" in out
