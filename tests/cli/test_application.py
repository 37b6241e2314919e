"""An existing ``@hydra.main`` application, unmodified, with ``hydra/sweeper=lawsweep``."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from lawsweep.cli.main import run_command

APP = """
import logging
import os
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

log = logging.getLogger(__name__)


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg: DictConfig):
    job = HydraConfig.get().job
    log.info("lr is %s in job %s", cfg.lr, job.num)
    with (Path(__file__).parent / "calls.txt").open("a") as calls:
        calls.write(f"{job.num} {job.id} {cfg.lr} {cfg.model.name} {cfg.seed}\\n")
    if cfg.lr == 3:
        raise ValueError("three is no rate")
    if cfg.lr == 4:
        return None
    if cfg.lr == 5:
        return cfg.lr * cfg.model.width
    return {"loss": cfg.lr * cfg.model.width + cfg.seed, "num": job.num, "model": object(),
            "cwd": Path.cwd().name, "out": Path(cfg.out).name, "env": os.environ.get("OF_JOB")}


if __name__ == "__main__":
    main()
"""
CONF = {
    "config.yaml": "defaults: [model: small, _self_]\nlr: 0.1\nseed: 0\ntag: ${model.name}_${lr}\n"
    "out: ${hydra:runtime.output_dir}\nwhen: ${now:%S%f}\ntoken: s3cret-of-mine\n"
    "hydra: {job: {env_set: {OF_JOB: yes_it_is}}}\n",
    "model/small.yaml": "name: small\nwidth: 10\n",
    "model/big.yaml": "name: big\nwidth: 100\n",
}


@pytest.fixture
def app(folder, monkeypatch, capsys):
    """Run the application in this process: (exit code, stdout, stderr)."""
    import importlib.util

    from hydra.core.hydra_config import HydraConfig

    (folder / "app.py").write_text(APP)
    for name, text in CONF.items():
        path = folder / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    spec = importlib.util.spec_from_file_location("app_of_tests", folder / "app.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "app_of_tests", module)
    spec.loader.exec_module(module)
    module.main.__wrapped__.__module__ = "__main__"  # as of a script that is started
    handlers, level = logging.root.handlers[:], logging.root.level

    def run(*words, sweeper="lawsweep"):
        chosen = [f"hydra/sweeper={sweeper}"] if sweeper else []
        monkeypatch.setattr(sys, "argv", ["app.py", "-m", *chosen, *words])
        capsys.readouterr()
        code = 0
        try:
            module.main()
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return code, said.out, said.err

    yield run
    for handler in [*logging.root.handlers]:
        handler.close()
    logging.root.handlers[:], logging.root.level = handlers, level
    HydraConfig.instance().cfg = None


def calls():
    found = Path("calls.txt")
    return found.read_text().splitlines() if found.exists() else []


def answer(capsys, *words):
    """What a verb answers in JSON."""
    code = run_command([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_second_run_launches_none_and_one_more_value_one(app):
    code, out, _ = app("lr=0.1,0.01", "model=small,big")
    assert code == 0
    assert "ran 4 in" in out
    assert [c.split()[0] for c in calls()] == ["0", "1", "2", "3"]
    code, out, _ = app("lr=0.1,0.01", "model=small,big")
    assert code == 0
    assert "nothing to run" in out
    assert len(calls()) == 4
    # Other spellings of what is there, by a reference too, and one that is new: its number is 4.
    code, out, _ = app("model.name=big", "model.width=100", "lr=0.1,0.01,0.2,'${model.width}',100")
    assert "ran 2 in" in out
    assert [c.split()[0] for c in calls()[4:]] == ["2", "3"]
    assert "(1 of 5 jobs are repeated)" in out


def test_a_seed_that_no_config_has_is_refused(app, folder):
    code, _, err = app("lr=1,2", "+training.seed=0,1", "hydra.sweeper.seed=trainig.seed")
    assert code == 10
    assert "Unknown key 'trainig.seed' in hydra.sweeper.seed. Did you mean 'training.seed'" in err
    assert not calls()
    code, out, _ = app("lr=1", "+training.seed=0,1", "hydra.sweeper.seed=training.seed")
    assert (code, "ran 2 in" in out) == (0, True)
    assert "ran 1 in" in app("lr=1", "hydra.sweeper.seed=null")[1]
    assert "ran 1 in" in app("~seed", "lr=2", "model=big")[1]  # the default may be lacking


def test_another_default_is_another_run(app, folder):
    app("lr=1,2")
    (folder / "conf" / "model" / "small.yaml").write_text("name: small\nwidth: 11\n")
    assert "ran 2 in" in app("lr=1,2")[1]
    assert "nothing to run" in app("lr=1,2")[1]
    assert "ran 2 in" in app("lr=1,2", "hydra.sweeper.version=2")[1]


def test_jobs_of_other_code_are_told_of_accepted_or_run_again(app, folder):
    app("lr=1,2")

    def edit(factor):
        (folder / "app.py").write_text(APP.replace('"loss": cfg.lr', f'"loss": {factor} * cfg.lr'))

    edit(1.0)
    err = app("lr=1,2")[2]
    assert "2 of 2 rows were made by other code of app than today's" in err
    assert "hydra.sweeper.accept=true declares it the same, hydra.sweeper.recompute=true" in err
    assert "accepted: 2 rows by one code" in app("lr=1,2", "hydra.sweeper.accept=true")[1]
    assert "other code" not in app("lr=1,2")[2]
    edit(2.0)
    out = app("lr=1,2", "hydra.sweeper.recompute=true")[1]
    assert "recompute: 2 runs again, 2 made by other code" in out
    assert "ran 2 in" in out
    assert len(calls()) == 4
    both = app("lr=1", "hydra.sweeper.accept=true", "hydra.sweeper.recompute=true")
    assert both[0] == 11
    assert "Give one of them" in both[2]


def test_metrics_seeds_failures_and_what_the_verbs_say(app, capsys):
    code, out, _ = app("lr=1,2,3,4,5", "seed=0,1", "hydra.sweeper.name=study")
    assert code == 3
    assert "failed: 2 x ValueError: three is no rate" in out
    assert "hydra.sweeper.retry=true" in out
    assert len(calls()) == 10
    code, found = answer(capsys, "status", "study")
    assert (found["planned"], found["statuses"]) == (10, {"ok": 8, "failed": 2})
    run_command(["sql", "select * exclude (traceback) from app order by lr, seed", "--json"])
    rows = json.loads(capsys.readouterr().out)
    ok = [r for r in rows if r["loss"] is not None]
    assert [(r["lr"], r["seed"], r["loss"]) for r in ok] == [
        (1, 0, 10.0), (1, 1, 11.0), (2, 0, 20.0), (2, 1, 21.0),
    ]  # fmt: skip
    assert [r["num"] for r in ok] == [0, 1, 2, 3]
    assert all(r["env"] == "yes_it_is" for r in ok)
    assert [r["returned_out"] for r in ok] == ["0", "1", "2", "3"]
    assert [Path(r["output_dir"]).name for r in ok] == ["0", "1", "2", "3"]
    assert {r["value"] for r in rows if r["lr"] == 5} == {50}
    assert {r["status"] for r in rows if r["lr"] == 4} == {"ok"}
    failed = [r for r in rows if r["status"] == "failed"]
    assert {r["error"] for r in failed} == {"ValueError: three is no rate"}
    assert "s3cret-of-mine" not in json.dumps(rows)
    fits = "fits=[{law: power, x: model_width*lr, y: loss, where: 'lr < 3'}]"
    assert answer(capsys, "fit", "study", fits)[0] == 0
    assert run_command(["report", "study"]) == 0
    capsys.readouterr()
    chosen = answer(capsys, "status", "study", "params.lr=1,3", "seeds=[1]")[1]
    assert chosen["statuses"] == {"ok": 1, "failed": 1}
    assert run_command(["status", "study", "params.lr=9"]) == 11
    assert "lr is one of 1, 2, 3, 4, 5" in capsys.readouterr().err
    assert run_command(["status", "study", "params.rl=1"]) == 10
    assert run_command(["run", "study"]) == 11
    assert "app.py -m hydra/sweeper=lawsweep lr=1,2,3,4,5" in capsys.readouterr().err
    # What failed is tried again where that is asked for, and not otherwise.
    assert app("lr=1,2,3,4,5", "seed=0,1", "hydra.sweeper.name=study")[0] == 3
    assert len(calls()) == 10
    app("lr=1,3", "seed=0,1", "hydra.sweeper.name=study", "hydra.sweeper.retry=true")
    assert len(calls()) == 12
    assert answer(capsys, "status", "study")[1]["planned"] == 10


def test_the_traceback_says_where_the_output_is(app, capsys):
    app("lr=3", "hydra.sweep.dir=out")
    run_command(["sql", "select traceback from app", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert "The output folder of the job is" in row["traceback"]
    assert "three is no rate" in row["traceback"]


@pytest.mark.parametrize(
    "more",
    [(), ("hydra.sweep.subdir=${hydra.job.override_dirname}",), ("hydra.job.chdir=true",),
     ("hydra.sweep.subdir=${model.name}/${hydra.job.num}", "+hydra.job.x=1", "hydra.verbose=true")],
)  # fmt: skip
def test_each_job_has_the_folder_that_hydras_own_launcher_gives(app, folder, more):
    words = ["lr=1,2", "model=big", "+new='a b',c", *more]
    assert app(*words, "hydra.sweep.dir=theirs", sweeper=None)[0] == 0
    theirs = calls()
    Path("calls.txt").unlink(missing_ok=True)
    assert app(*words, "hydra.sweep.dir=ours")[0] == 0
    assert calls() == theirs
    found = {}
    for name in ("theirs", "ours"):
        root = folder / name
        found[name] = {
            str(p.relative_to(root)): p.read_text().replace(str(root), "ROOT").replace(
                f"dir: {name}", "dir: ROOT").replace(f"sweep.dir={name}", "sweep.dir=ROOT")
            for p in sorted(root.rglob("*")) if p.is_file() and p.name != "multirun.yaml"
        }  # fmt: skip
    assert set(found["ours"]) == set(found["theirs"])
    assert len([n for n in found["ours"] if n.endswith("hydra.yaml")]) == 4
    for name, text in found["ours"].items():
        expected = found["theirs"][name]
        if name.endswith(".log"):  # lines begin with the time
            text, expected = ([line.partition("]")[2] for line in t.splitlines()
                               if "lr is" in line] for t in (text, expected))  # fmt: skip
            assert len(text) == 1
        text, expected = (
            t.replace("sweeper: lawsweep", "").replace("sweeper: basic", "") if name.endswith(
                "hydra.yaml") else t for t in (text, expected)
        )  # fmt: skip
        if name.endswith("hydra.yaml"):
            text, expected = (_without_sweeper(t) for t in (text, expected))
        assert text == expected, name


def _without_sweeper(text):
    """hydra.yaml without what says which sweeper it was."""
    kept, inside = [], False
    for line in text.splitlines():
        inside = line.startswith("  sweeper:") or (inside and line.startswith("   "))
        if not inside and "hydra/sweeper=" not in line:
            kept.append(line)
    # An empty list of hydra's overrides and one with the sweeper alone differ in their brackets.
    return "\n".join(kept)


def test_callbacks_hear_of_each_job(app, folder):
    (folder / "heard.py").write_text(
        "from hydra.experimental.callback import Callback\n"
        "class Heard(Callback):\n"
        "    def __init__(self): self.n = 0\n"
        "    def on_job_end(self, config, job_return, **kwargs):\n"
        "        self.n += 1\n"
        "        self.tell(f'{config.hydra.job.num} {job_return.status.name}')\n"
        "    def on_multirun_end(self, config, **kwargs):\n"
        "        self.tell(f'end {self.n}')\n"
        "    def tell(self, text):\n"
        "        with open('heard.txt', 'a') as file: file.write(text + '\\n')\n"
    )
    sys.path.insert(0, str(folder))
    try:
        code, *_ = app("lr=1,3", "+hydra.callbacks.heard._target_=heard.Heard")
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("heard", None)
    assert code == 3
    assert Path("heard.txt").read_text().split("\n")[:-1] == ["0 COMPLETED", "1 FAILED", "end 2"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["lr=interval(0,1)"], 11, "interval, which has no list of values"),
        (["lr=1", "hydra.sweeper.executor=nothing"], 10, "Unknown"),
        (["lr=1", "hydra.sweeper.name=a/b"], 11, "file name without /"),
        (["lr=1", "hydra.sweeper.ignore=lr"], 11, "hydra.sweeper.ignore must be a list of keys"),
        (["lr=1", "hydra.sweeper.on_failure={retry: 1}"], 10, "max_attempts"),
        (["lr=1", "hydra.sweeper.version=0"], 11, "version must be a whole number from 1"),
        (["lr=1", "nothing=2"], 1, "Could not override 'nothing'"),
        (["lr=1", "hydra.sweeper.nothing=2"], 1, "nothing"),
    ],
)
def test_a_slip_is_one_sentence_and_nothing_runs(app, words, code, said):
    found, _, err = app(*words)
    assert (found, calls()) == (code, [])
    assert said in err
    assert "Traceback" not in err


def test_fits_of_the_config_are_told_and_kept(app, capsys):
    fits = "hydra.sweeper.fits=[{law: power, x: lr, y: value, name: mine}]"
    (Path("app.py").parent / "conf" / "config.yaml").write_text(
        CONF["config.yaml"].replace("lr: 0.1", "lr: 5")
    )
    code, out, _ = app("model.width=1,2,4,8", fits.replace("x: lr", "x: model_width"))
    assert code == 0
    assert "fit:    mine: value ~ model_width^1" in out
    assert answer(capsys, "fit", "app")[1][0]["name"] == "mine"


def test_what_is_ignored_decides_nothing(app):
    app("lr=1", "model.name=a", "hydra.sweeper.ignore=[model.name,tag]")
    _, out, _ = app("lr=1", "model.name=b", "hydra.sweeper.ignore=[model.name,tag]")
    assert "nothing to run" in out


def test_seeds_that_are_no_rectangle_are_several_grids(app, capsys, folder):
    (folder / "conf" / "pair").mkdir()
    (folder / "conf" / "pair" / "a.yaml").write_text("# @package _global_\nlr: 1\nseed: 0\n")
    (folder / "conf" / "pair" / "b.yaml").write_text("# @package _global_\nlr: 2\nseed: 7\n")
    code, out, _ = app("+pair=a,b")
    assert code == 0
    assert "ran 2 in" in out
    assert [c.split()[2:] for c in calls()] == [["1", "small", "0"], ["2", "small", "7"]]
    assert answer(capsys, "status", "app")[1]["statuses"]["ok"] == 2


def test_a_study_of_another_application_is_left_alone(app, capsys, folder):
    app("lr=1", "hydra.sweeper.name=study")
    record = folder / "results" / "sweeps" / "study" / "application.json"
    question = folder / "results" / "sweeps" / "study" / "question.json"
    before = record.read_text()
    question.write_text(question.read_text().replace('"experiment": "app"', '"experiment": "b"'))
    code, _, err = app("lr=2", "hydra.sweeper.name=study")
    assert code == 11
    assert "belongs to another sweep" in err
    assert record.read_text() == before


def test_a_start_of_hydra_loads_none_of_us():
    code = (
        "from hydra.core.plugins import Plugins; Plugins.instance()\n"
        "import sys\n"
        "assert 'hydra_plugins.lawsweep_sweeper' in sys.modules\n"
        "print([m for m in sys.modules if m.partition('.')[0] in "
        "('lawsweep', 'torch', 'ray', 'pandas', 'pyarrow')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_on_ray(app, capsys):
    code, out, _ = app("lr=1,2,3", "seed=0,1", "hydra.sweeper.executor=ray_local")
    assert code == 3
    assert "ran 6 in" in out
    run_command(
        ["sql", "select num, loss, returned_out from app where status='ok' order by num", "--json"]
    )
    rows = json.loads(capsys.readouterr().out)
    assert [r["loss"] for r in rows] == [10, 11, 20, 21]
    assert [r["returned_out"] for r in rows] == ["0", "1", "2", "3"]


def test_started_in_a_subfolder_its_rows_are_where_a_verb_looks(app, folder, monkeypatch, capsys):
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder / "sub")
    code, out, _ = app("lr=0.1,3")
    assert code == 3
    name = out.partition(":")[0]
    assert f"study:  lawsweep status {name}  (and" in out
    assert not (folder / "sub" / "results").exists()
    for place in (folder / "sub", folder):
        monkeypatch.chdir(place)
        assert run_command(["status", name]) == 0
        said = capsys.readouterr().out
        assert "2 planned: 1 ok, 1 failed" in said
        # It starts its runs itself: rerun would be refused.
        assert "1 failed, oom or timeout: python" in said
        assert "app.py -m hydra/sweeper=lawsweep lr=0.1,3 hydra.sweeper.retry=true" in said
        assert "lawsweep rerun" not in said
    assert run_command(["rerun", name, "--where", "lr < 1"]) == 11
    assert "Type what was typed" in capsys.readouterr().err
    assert not list((folder / "results" / "sweeps" / name).glob("forced-*"))
    assert run_command(["discard", name, "--status", "failed", "--yes"]) == 0
    assert "discarded 1 runs; made anew by: python" in capsys.readouterr().out
    assert answer(capsys, "status", name)[1]["missing"] == 1
