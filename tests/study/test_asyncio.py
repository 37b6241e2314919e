"""A launch in a notebook: awaited in its event loop, cancelled, run outright, drawn in its cell."""

from __future__ import annotations

import asyncio
import atexit
import sys
import threading

import pytest

import lawsweep

TURNED = threading.Event()
BOUND_S = 60.0  # what waits for ever fails


def waiting(n: int) -> float:
    assert TURNED.wait(BOUND_S), "the event loop stood still"
    return 2.0 * n


def opened(folder, function=waiting, **axes):
    settings = {"results_dir": str(folder), "executor": "serial", "name": function.__name__}
    return lawsweep.open(function, axes=axes or {"n": [1, 2]}, **settings)


@pytest.fixture(autouse=True)
def nothing_turned():
    TURNED.clear()


def test_a_loop_goes_on_while_a_launch_is_awaited(folder):
    study = opened(folder)

    async def main():
        launch = study.start()
        asyncio.get_running_loop().call_later(0.01, TURNED.set)  # the runs wait for this
        report = await launch
        assert await launch is report  # again, when it has ended
        return report

    assert dict(asyncio.run(main()).statuses) == {"ok": 2}
    assert study.frame()["value"].tolist() == [2.0, 4.0]


def test_a_launch_whose_waiting_is_cancelled_ends(folder):
    study = opened(folder, n=[1, 2, 3])

    async def main():
        launch = study.start()
        try:
            await asyncio.wait_for(launch, timeout=0.01)
        except TimeoutError:
            TURNED.set()
            return launch
        raise AssertionError("nothing had released the runs")

    launch = asyncio.run(main())
    assert launch.wait(BOUND_S).stopped == "interrupted"
    assert launch._repr_html_().startswith("<b>Launch")


def test_verbs_run_inside_of_a_loop(folder):
    TURNED.set()
    study = opened(folder)

    async def main():
        report = study.run()
        assert "2 planned: 2 ok" in study._repr_html_()
        return report, [o.status for o in study.start()]

    report, again = asyncio.run(main())
    assert dict(report.statuses) == {"ok": 2}
    assert again == []  # all is in the table


def test_a_notebook_draws_a_launch_until_it_has_ended(folder, monkeypatch):
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell

    from lawsweep.study import notebook

    monkeypatch.setattr(notebook, "REDRAWN_S", 0.01)
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    before = sys.displayhook
    shell = InteractiveShell.instance(display_pub_class=CapturingDisplayPublisher)
    try:
        launch = opened(folder).start()
        shell.user_ns["launch"] = launch
        shell.run_cell("launch")  # of a terminal: text, once
        assert shell.display_pub.outputs == []
        shell.kernel = object()  # what the shell of a notebook has
        shell.run_cell("launch")
        outputs = shell.display_pub.outputs
        assert "under way" in outputs[0]["data"]["text/html"]
        assert outputs[0]["data"]["text/plain"] == repr(launch)
        for _ in range(int(BOUND_S / 0.01)):
            if len(outputs) > 2:
                break
            threading.Event().wait(0.01)
        TURNED.set()
        launch.wait(BOUND_S)
        for thread in threading.enumerate():
            if thread.name == "lawsweep-notebook":
                thread.join(BOUND_S)
        assert "2 of 2 runs" in outputs[-1]["data"]["text/html"]
        assert "ended" in outputs[-1]["data"]["text/html"]
        assert len({o["transient"]["display_id"] for o in outputs}) == 1
        assert [o["update"] for o in outputs] == [False] + [True] * (len(outputs) - 1)
    finally:
        shell.atexit_operations()
        atexit.unregister(shell.atexit_operations)
        InteractiveShell.clear_instance()
        sys.displayhook = before
