"""Failures are grouped by what went wrong, and each group names a run to look at."""

from __future__ import annotations

import json

from command_fixtures import lawsweep, write  # noqa: F401

from lawsweep.study.failures import failure_groups
from lawsweep.study.progress import MOST_GROUPS, Status


def test_failures_alike_but_for_numbers_are_one_group():
    groups = failure_groups(
        [
            ("a0", "failed", "ValueError: n=3 is bad at 0x7f\nmore"),
            ("b1", "failed", "KeyError: 'x'"),
            ("c2", "oom", "ValueError: n=4 is bad at 0x80"),
            ("d3", "failed", "ValueError: n=44 is bad at 0x81\nother"),
            ("e4", "timeout", None),
        ]
    )
    assert [(g.status, g.n, g.run_id) for g in groups] == [
        ("failed", 2, "a0"), ("failed", 1, "b1"), ("oom", 1, "c2"), ("timeout", 1, "e4"),
    ]  # fmt: skip
    assert groups[0].line() == "2 failed: ValueError: n=3 is bad at 0x7f (lawsweep show a0)"
    assert groups[3].line() == "1 timeout (lawsweep show e4)"


def test_many_kinds_of_failure_are_counted_and_not_all_listed():
    rows = [(f"{i:02x}", "failed", f"Error{chr(97 + i)}: no") for i in range(MOST_GROUPS + 3)]
    status = Status(99, {"failed": len(rows)}, (), {}, failures=failure_groups(rows))
    gaps = status.gaps("s")
    assert len(gaps) == MOST_GROUPS + 3
    assert gaps[MOST_GROUPS] == "3 that failed otherwise, in 3 ways"
    assert gaps[MOST_GROUPS + 1] == "11 failed, oom or timeout: lawsweep rerun s --failed"


def test_status_run_and_report_name_what_went_wrong_and_a_run_of_it(lawsweep, write, folder):  # noqa: F811
    (folder / "work.py").write_text(
        "from lawsweep import experiment\n"
        "@experiment\n"
        "def work(n: int, seed: int) -> dict:\n"
        "    if n == 3: raise ValueError(f'<n={n}> is bad for {seed}')\n"
        "    if n == 4: raise RuntimeError('boom')\n"
        "    return {'y': float(n)}\n"
    )
    write("w", """
        experiment: work:work
        axes: {n: [1, 2, 3, 4]}
        seeds: 3
        executor: serial
        on_failure: {stop_after: 0}
    """)  # fmt: skip
    code, out, err = lawsweep("run", "w")
    assert code == 3
    told = json.loads(lawsweep("status", "w", "--json")[1])["failures"]
    assert [(f["status"], f["n"], f["error"]) for f in told] == [
        ("failed", 3, "ValueError: <n=3> is bad for 0"), ("failed", 3, "RuntimeError: boom"),
    ]  # fmt: skip
    first = told[0]["run_id"]
    line = f"3 failed: ValueError: <n=3> is bad for 0 (lawsweep show {first[:8]})"
    assert line in out
    assert line in lawsweep("status", "w")[1]
    assert f"failed: n=3 seed=0: ValueError: <n=3> is bad for 0 (run {first[:8]})" in err
    assert f"run_id  {first}" in lawsweep("show", first[:8])[1]
    assert lawsweep("report", "w")[0] == 0
    (page,) = (folder / "results" / "sweeps" / "w").glob("report.html")
    text = page.read_text()
    assert f"lawsweep show {first[:8]}" in text
    assert "<n=3>" not in text


def test_run_x_stops_at_the_first_failure_and_loses_nothing(lawsweep, write):  # noqa: F811
    write("f", """
        experiment: toys:faulty
        axes: {i: "range(0, 40)"}
        params: {fault: raise, pause_s: 0.02}
        executor: serial
    """)  # fmt: skip
    code, out, _ = lawsweep("run", "f", "-x")
    assert code == 4
    told = json.loads(lawsweep("status", "f", "--json")[1])
    n = told["statuses"]
    assert n["failed"] == 1
    assert "stopped: a run failed: ValueError: a kernel said no" in out
    assert told["missing"] == 40 - sum(n.values()) > 0
    # Overrides of how a launch treats failures ask nothing else: rows and folder are the same.
    assert lawsweep("run", "f")[0] == 3
    assert json.loads(lawsweep("status", "f", "--json")[1])["missing"] == 0
