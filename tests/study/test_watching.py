"""A sweep's page while it runs: what it serves, to whom, and how it follows the table."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from browser import needs_chromium, open_browser, requests, visit, wait

import lawsweep
from lawsweep import Sweep
from lawsweep.core.errors import InvalidValueError
from lawsweep.study.reading.watching import Server, Watched
from lawsweep.study.study import Study

SUPPORT = Path(__file__).parent.parent / "support"


def sweep(seeds=2, **changes):
    given = {
        "name": "toys",
        "experiment": "toys:toy",
        "axes": {"n": [10, 20, 40, 80]},
        "seeds": seeds,
        "executor": {"kind": "serial"},
        "fits": ({"law": "power", "x": "n", "y": "y"},),
        "figures": (
            {"kind": "curve", "x": "n", "y": "y"},
            {"kind": "heatmap", "x": "n", "y": "seed", "z": "y"},
        ),
    }
    return Sweep(**{**given, **changes})


@contextlib.contextmanager
def served(watched):
    server = Server(watched)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server.url
    finally:
        server.close()
        thread.join(20)
    assert not thread.is_alive()


def ask(url, host=None):
    """(status, text)."""
    asked = urllib.request.Request(url, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(asked, timeout=300) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_page_follows_the_table_and_is_made_once_a_state_of_it(folder):
    watched = Watched(Study(sweep(seeds=3)), "toys seeds=3")
    empty, before = watched.page(), watched.state()
    assert "12 missing" in empty
    assert before["line"] == "12 planned: 0 ok, 12 missing · nothing is running"
    assert watched.page() is empty
    lawsweep.run(sweep(seeds=2))
    half = watched.state()
    assert half["stamp"] != before["stamp"]
    assert "12 planned: 8 ok, 4 missing" in watched.page()
    lawsweep.run(sweep(seeds=3))
    assert watched.state()["line"] == "12 planned: 12 ok · done"
    page = watched.page()
    assert "12 planned: 12 ok" in page
    assert page.count("data-show=") == 2  # both figures are interactive
    assert '<img class="still"' not in page
    assert f'data-stamp="{watched.state()["stamp"]}"' in page
    assert not (folder / "results/sweeps/toys/report.html").exists()  # it reads, and no more


def test_a_figure_that_fails_costs_the_page_nothing(folder):
    bad = {"kind": "curve", "name": "none", "x": "n", "y": "y", "where": "y > 1e9"}
    tried = sweep(figures=(bad, {"kind": "scatter", "x": "n", "y": "y"}))
    lawsweep.run(tried)
    page = Watched(Study(tried), "toys").page()
    assert "Figure none needs at least one ok row" in page
    assert page.count("<figure id=") == 1


def test_a_results_folder_that_goes_away_is_said_and_not_the_end(folder):
    lawsweep.run(sweep())
    watched = Watched(Study(sweep()), "toys")
    assert "8 planned: 8 ok" in watched.page()
    shutil.rmtree(folder / "results")
    said = watched.state()["line"]
    assert "cannot be read now" in said or "8 missing" in said
    assert "<main" in watched.page()


def test_it_answers_who_knows_the_address_and_asks_for_it_by_name(folder):
    lawsweep.run(sweep())
    with served(Watched(Study(sweep()), "toys")) as url:
        host, word = re.fullmatch(r"http://(127\.0\.0\.1:\d+)/([\w-]{16})/", url).groups()
        assert ask(url)[0] == 200
        code, text = ask(f"{url}state.json")
        assert (code, json.loads(text)["line"]) == (200, "8 planned: 8 ok · done")
        assert ask(url, host="elsewhere.example")[0] == 403
        assert ask(f"{url}state.json", host=f"elsewhere.example:{host.split(':')[1]}")[0] == 403
        for path in ("", "x/", f"{word}/x", f"{word}/../", f"{word[:-1]}/page.html"):
            assert ask(f"http://{host}/{path}")[0] == 404
        with pytest.raises(InvalidValueError, match="cannot be listened on"):
            Server(Watched(Study(sweep()), "toys"), int(host.split(":")[1]))


def test_the_command_says_where_and_ends_at_an_interrupt(folder):
    (folder / "sweeps").mkdir()
    text = "experiment: toys:toy\naxes: {n: [1, 2]}\nexecutor: serial\n"
    (folder / "sweeps/toys.yaml").write_text(text)
    paths = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    watch = subprocess.Popen(
        [sys.executable, "-m", "lawsweep.cli.main", "watch", "toys", "--web"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    with watch:
        line = watch.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+/\S+/", line)
        assert url is not None, (line, watch.poll() and watch.stderr.read())
        assert ask(f"{url[0]}state.json")[0] == 200
        watch.send_signal(signal.SIGINT)
        out, err = watch.communicate(timeout=300)
    assert (watch.returncode, out) == (0, "")
    assert err.strip() == "watch ended; the sweep goes on"


def test_without_a_page_it_says_lines_until_all_is_done(folder, capsys):
    from lawsweep.cli.main import run_command

    (folder / "sweeps").mkdir()
    text = "experiment: toys:toy\naxes: {n: [1, 2]}\nexecutor: serial\n"
    (folder / "sweeps/toys.yaml").write_text(text)
    assert run_command(["run", "toys"]) == 0
    capsys.readouterr()
    assert run_command(["watch", "toys"]) == 0
    assert capsys.readouterr().out.startswith("2 planned: 2 ok")
    assert run_command(["watch", "toys", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["statuses"] == {"ok": 2}


@needs_chromium
def test_a_browser_sees_rows_come_in_and_keeps_its_view(folder, tmp_path_factory):
    lawsweep.run(sweep())
    browser = open_browser(tmp_path_factory.mktemp("profile"))
    try:
        with served(Watched(Study(sweep(seeds=3)), "toys seeds=3")) as url:
            browser.get_log("performance")
            visit(browser, url)
            script = "document.querySelector('[data-act=logx]').click()"
            browser.execute_script(script)
            pressed = "document.querySelector('[data-act=logx]').getAttribute('aria-pressed')"
            assert browser.execute_script(f"return {pressed}") == "true"
            browser.execute_script("document.getElementById('meanings').open = true")
            browser.execute_script("document.getElementById('figure-0-data').open = true")
            lawsweep.run(sweep(seeds=3))
            result = "document.getElementById('result').textContent.includes('12 planned: 12 ok')"
            wait(browser, result)
            wait(browser, "document.querySelectorAll('.chart svg .mark-symbol path').length === 4")
            assert browser.execute_script(f"return {pressed}") == "true"
            for name in ("meanings", "figure-0-data"):
                assert browser.execute_script(f"return document.getElementById('{name}').open")
            wait(browser, "document.getElementById('live').textContent.endsWith('done')")
            assert browser.get_log("browser") == []
            asked = requests(browser)
            assert len(asked) > 1
            assert [u for u in asked if not u.startswith((url, "data:", "blob:"))] == []
        wait(browser, "document.getElementById('live').textContent.includes('has ended')")
    finally:
        browser.quit()
