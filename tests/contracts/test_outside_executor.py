"""An executor from another package, found by its entry point: the contract, and a sweep by it."""

from __future__ import annotations

import json

import pytest
from outside import Package, write_study


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    offers = {"lawsweep.executors": {"crew": "crew:CrewExecutor"}}
    return Package(tmp_path_factory.mktemp("site"), "lawsweep-crew", ["crew"], offers)


@pytest.mark.slow
def test_it_passes_the_contract_that_ships(package, tmp_path):
    package.tests(
        tmp_path,
        "from lawsweep.contracts import WorkerContract\n\n\n"
        "class TestCrew(WorkerContract):\n"
        '    config = "crew"\n',
    )


def test_a_sweep_runs_on_it(package, tmp_path):
    write_study(tmp_path)
    words = ("study", "executor=crew", "executor.n_workers=3")
    plan, _, status = package.commands(
        tmp_path, ("plan", *words), ("run", *words), ("status", "study")
    )
    assert "on 3 CPU slots" in plan
    assert "6 planned: 6 ok" in status
    (record,) = (tmp_path / "results/sweeps/study/launches").glob("*.json")
    told = json.loads(record.read_text())
    assert told["executor"] == {"kind": "crew", "device": "cpu", "n_workers": 3}
    assert told["config"]["executor"] == {"kind": "crew", "n_workers": 3}


def test_what_it_does_not_take_is_one_sentence(package, tmp_path):
    write_study(tmp_path)
    odd = (
        (("executor=crew", "executor.n_workers=0"), "executor.n_workers must be a whole numbe"),
        (("executor=crew", "executor.workers=1"), "in executor crew. Did you mean 'n_workers'"),
        (("executor=crow",), "Did you mean 'crew'?"),
    )
    commands = [("plan", "study", *words) for words, _ in odd]
    told = package.commands(tmp_path, *commands, codes=(11, 10, 10))
    for said, (_, message) in zip(told, odd, strict=True):
        assert message in said
