"""Rows that say in words what is a code today are read as the code, by every reader; files stay."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

import lawsweep
from lawsweep import Sweep
from lawsweep.core.errors import InvalidValueError
from lawsweep.experiments.aliases import END_ALIASES, ZERO_ALIASES
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.tools.audit import audit, sample_rows
from lawsweep.tools.comparing import compare
from lawsweep.tools.replay import replay

WORDS = {code: text for text, code in {**END_ALIASES, **ZERO_ALIASES}.items()}
OLD = WORDS["duplicate"]


def sweep_of(results):
    """Four rows with an exact zero, and four that are solved for."""
    return Sweep(
        name="zeros",
        experiment="ntk_min_eig",
        params={
            "input_dim": 3,
            "width": 9,
            "depth": 2,
            "activation": "tanh",
            "data": "rademacher",
        },
        axes={"n_samples": [2, 12]},
        seeds=4,
        results_dir=results,
        executor={"kind": "serial"},
    )


def written_before(sweep):
    """Run the sweep, and write each row again as the code of then wrote it, in words."""
    lawsweep.run(sweep)
    experiment = sweep.find_experiment()
    table = ParquetTable(sweep.tables, experiment)
    rows = table.read().to_pylist()
    later = datetime.now(UTC) + timedelta(seconds=1)
    for row in rows:
        row |= {n: WORDS.get(row[n], row[n]) for n in experiment.aliases}
        row |= {"attempt": row["attempt"] + 1, "started_at": later}
    table.append(rows)
    return sweep


@pytest.fixture
def before(folder):
    return written_before(sweep_of("then"))


def test_the_file_has_the_words_and_the_frame_has_the_code(before):
    raw = [v for p in before.tables.rglob("*.parquet") for v in
           pq.read_table(p, columns=["zero_reason"])["zero_reason"].to_pylist()]  # fmt: skip
    assert OLD in raw
    frame = lawsweep.load(before)
    assert set(frame["attempt"]) == {2}
    assert set(frame["zero_reason"].dropna()) == {"duplicate"}
    assert OLD not in set(frame["stop_reason"])


def test_show_replay_and_audit_know_it(before):
    frame = lawsweep.load(before)
    for run_id in frame["run_id"]:
        row = lawsweep.show(run_id, "then")
        assert row["zero_reason"] in ("duplicate", None)
        done = replay(run_id, "then")
        assert done.reproduced, done.differences
        assert {"zero_reason", "stop_reason"} <= {*done.compared}
    rows, _ = sample_rows(before, 8)
    assert all(r.reproduced for r in audit(before, rows).replays)


def test_a_comparison_with_rows_of_today_finds_no_difference(before):
    today = sweep_of("now")
    lawsweep.run(today)
    found = {m.name: m for m in compare(before, today).metrics}
    for name in ("zero_reason", "stop_reason"):
        assert (found[name].n, found[name].n_same, found[name].n_unlike) == (8, 8, 0)


def test_sql_verify_and_a_condition_take_the_code(before):
    (answer,) = lawsweep.sql(
        "SELECT count(*) AS n FROM ntk_min_eig WHERE zero_reason = 'duplicate'", "then"
    ).to_pylist()
    frame = lawsweep.load(before)
    assert answer["n"] == (frame["zero_reason"] == "duplicate").sum() > 0
    for target in (before, "ntk_min_eig"):  # of each run one row says it so, and one so
        found, left = lawsweep.verify(target, "then")
        assert not left
        assert not [f for fs in found.values() for f in fs if f.severity == "problem"]


def test_a_condition_in_words_is_told_the_code(folder):
    entry = {"law": "power", "x": "n_samples", "y": "lambda_min"}
    for where in (f"zero_reason != '{OLD}'", f"zero_reason in ('rank', '{OLD}')"):
        sweep = dataclasses.replace(sweep_of("then"), fits=({**entry, "where": where},))
        with pytest.raises(InvalidValueError, match=r"zero_reason .*, which is 'duplicate' in"):
            lawsweep.run(sweep)
    good = {**entry, "where": "zero_reason != 'duplicate'"}
    lawsweep.run(dataclasses.replace(sweep_of("then"), fits=(good,)))


def test_a_compacted_table_reads_the_same(before):
    frame = lawsweep.load(before)
    lawsweep.compact("ntk_min_eig", "then")
    assert lawsweep.load(before).equals(frame)


def test_words_that_come_by_file_are_kept_as_codes(before, tmp_path):
    theirs = tmp_path / "theirs.csv"
    frame = lawsweep.load(before)
    frame["zero_reason"] = frame["zero_reason"].replace("duplicate", OLD)
    frame.to_csv(theirs, index=False)
    into = sweep_of("elsewhere")
    lawsweep.import_rows(theirs, into)
    assert set(lawsweep.load(into)["zero_reason"].dropna()) == {"duplicate"}


@pytest.mark.filterwarnings("ignore:.*made by other code")  # and so they were
def test_an_experiment_of_ones_own_renames_its_words(module, folder):
    text = """
        from dataclasses import dataclass
        from typing import Annotated
        from lawsweep import Field, experiment

        @dataclass(frozen=True)
        class Params:
            n: int

        @dataclass(frozen=True)
        class Metrics:
            end: ANNOTATION

        @experiment(version=1)
        def worded(params: Params, seed: int) -> Metrics:
            return Metrics("ANSWER")
    """

    def study(annotation, answer):
        find = module("worded", text.replace("ANNOTATION", annotation).replace("ANSWER", answer))
        return Sweep(
            name="worded",
            experiment=find("worded"),
            axes={"n": [1, 2]},
            executor={"kind": "serial"},
        )

    then = study("str", "it went well")
    lawsweep.run(then)
    now = study("Annotated[str, Field(aliases={'it went well': 'converged'})]", "converged")
    assert lawsweep.run(now).done_before == 2
    assert set(lawsweep.load(now)["end"]) == {"converged"}
    run_id = lawsweep.load(now)["run_id"].iloc[0]
    assert replay(run_id, experiment="worded:worded").reproduced


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("Metrics", "float", "aliases are of one text"),
        ("Params", "str", "only a metric has aliases"),
    ],
)
def test_aliases_of_anything_else_are_refused(module, kind, name, message):
    at = {"Params": "int", "Metrics": "int"}
    at[kind] = f"Annotated[{name}, Field(aliases={{'a': 'b'}})]"
    find = module(
        "refused",
        f"""
        from dataclasses import dataclass
        from typing import Annotated
        from lawsweep import Field, experiment

        @dataclass(frozen=True)
        class Params:
            a: {at["Params"]}

        @dataclass(frozen=True)
        class Metrics:
            b: {at["Metrics"]}

        @experiment(version=1)
        def refused(params: Params, seed: int) -> Metrics: ...
        """,
    )
    with pytest.raises(lawsweep.LawsweepError, match=message):
        find("refused")
