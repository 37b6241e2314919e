"""A command as an experiment: its words, its metrics, how it fails; nothing outlives it."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

import lawsweep
from lawsweep import Study, Sweep
from lawsweep.core.commands.command import _of_output, spelled
from lawsweep.core.commands.process import run_process
from lawsweep.core.commands.template import read_template
from lawsweep.core.errors import InvalidValueError, LawsweepError, UnknownNameError

PROGRAM = """
import json, os, sys
said = {"words": sys.argv[1:], "folder": os.getcwd(), "run": os.environ["LAWSWEEP_RUN_ID"]}
said |= {"told": json.loads(os.environ["LAWSWEEP_PARAMS"]), "at": os.environ["LAWSWEEP_SEED"]}
print("working")
print(json.dumps({"said": json.dumps(said), "loss": float(sys.argv[1]) + int(os.environ["LAWSWEEP_SEED"])}))
print("done {", file=sys.stderr)
"""  # noqa: E501


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "sweeps").mkdir()
    return tmp_path


def sweep(command, **settings):
    settings = {"axes": {"lr": [0.5]}, "executor": {"kind": "serial"}, **settings}
    return Study(Sweep("tried", command=command, **settings))


def test_a_sweep_s_file_says_the_command(project):
    (project / "sweeps" / "trained.yaml").write_text(
        "command: python program.py {lr} {width} {seed} {name} --flag={flag}\n"
        "axes: {lr: [0.5, 2], width: 'range(2, 4)', name: ['it''s \"$HOME\"; *', b]}\n"
        "params: {flag: true}\nseeds: 2\n"
        "fits: [{law: power, x: lr, y: loss, by: [width]}]\n"
    )
    study = lawsweep.open("trained", "params.width=2,8", "executor=serial")
    study.run()
    frame = study.frame()
    assert frame["status"].tolist() == ["ok"] * 16
    assert (frame["loss"] == frame["lr"] + frame["seed"]).all()
    for row in frame.to_dict("records"):
        said = json.loads(row["said"])
        width, lr = int(row["width"]), f"{row['lr']:g}"
        assert said["words"] == [lr, str(width), str(row["seed"]), row["name"], "--flag=true"]
        assert said["told"] == {
            "lr": row["lr"], "width": width, "name": row["name"], "flag": True
        }  # fmt: skip
        assert (said["run"], said["at"]) == (row["run_id"], str(row["seed"]))
        folder = project / "results" / "runs" / "trained" / row["run_id"]
        assert Path(said["folder"]) == folder
        assert (folder / "stdout.txt").read_text().startswith("working\n{")
        assert (folder / "stderr.txt").read_text() == "done {\n"
    # Whole numbers and floats are one type, so a value that is added changes no run.
    ids = set(study.plan.run_ids)
    assert ids < set(lawsweep.open("trained", "params.width=2,8,2.5").plan.run_ids)
    assert study.sweep.record()["command"].startswith("python program.py")
    again = lawsweep.Sweep.from_mapping("trained", study.sweep.record())
    assert set(again.plan().run_ids) == ids
    (project / "program.py").write_text(PROGRAM.replace("working", "at work"))
    (note,) = lawsweep.open("trained", "params.width=2,8").preview().plan.notes
    assert "16 of 16 rows were made by other code of trained than today's" in note
    assert "(changed since: program.py)" in note
    for override, sentence in {
        "params.wdth=3": "Unknown param 'wdth' .* Did you mean 'width'",
        "axes.foo=3,4": "Unknown param 'foo' in the axes of experiment trained",
        "experiment=toys:toy": "has both an experiment and a command",
    }.items():
        with pytest.raises(LawsweepError, match=sentence):
            lawsweep.open("trained", override)


def test_metrics_may_come_from_a_file_and_folders_may_go(project):
    code = "import json; open('out.json', 'w').write(json.dumps({'v': {'x': [1, 2]}, 'n': None}))"
    block = {
        "run": ["python", "-c", code], "metrics": "out.json", "keep": "failed", "version": 2,
        "name": "filed", "env": {"RATE": "{lr}"},
    }  # fmt: skip
    study = sweep(block)
    study.run()
    assert study.plan.experiment.version == 2
    assert study.plan.experiment.name == "filed"
    assert study.frame()["v_x"].tolist() == [[1, 2]]
    assert list((project / "results" / "runs" / "filed").iterdir()) == []
    # Of an earlier attempt nothing is read.
    runs = project / "other" / "runs" / "stale"
    block = {"run": "true", "metrics": "out.json", "name": "stale", "env": {"R": "{lr}"}}
    stale = sweep(block, results_dir="other")
    (runs / stale.plan.run_ids[0]).mkdir(parents=True)
    (runs / stale.plan.run_ids[0] / "out.json").write_text('{"old": 1}')
    stale.run()
    assert stale.frame()["error"][0].startswith(
        "InvalidValueError: The command wrote no out.json (command.metrics) in its folder"
    )


def py(code):
    return ["python", "-c", code, "{lr}"]


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (py("import sys; sys.exit('no such layer')"),
         "CommandError: python ended with exit code 1: no such layer"),
        (py("import os; os.kill(os.getpid(), 9)"),
         "CommandError: python was ended by SIGKILL (as the system does where memory runs out)"),
        (py("print('fine')"), "InvalidValueError: The command printed no line of JSON. Print one"),
        (py("print('{loss: 1}')"),
         "InvalidValueError: The command printed no line of JSON; its last line with a brace is"),
        (py("print('{\"loss\": 2}'); print('{\"loss\": nan}')"),
         "InvalidValueError: The command printed no line of JSON; its last line with a brace is"),
        (py("print('{\"loss\": 2}'); print('{not it}')"), "ok"),
        (py("print('[1]')"), "InvalidValueError: The command printed no line of JSON. Print one"),
        (py("import sys; sys.stdout.buffer.write(b'\\xff\\n{\"a\": \"\\xff\"}')"),
         "ok"),
        (py("print('{\"loss\": NaN, \"top\": Infinity}')"), "ok"),
        (py("print('{\"lr\": 0.5, \"loss\": 1}')"), "ok"),
        (py("print('{\"lr\": 0.6}')"),
         "InvalidValueError: tried returned 'lr', the name of a param, with another value"),
        (["pyhton", "{lr}"], "InvalidValueError: There is no program 'pyhton' on PATH of"),
        (["./data.txt", "{lr}"], "InvalidValueError: './data.txt' cannot be run: no permission"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_sentence_in_the_row(project, command, sentence):
    if command[0] == "./data.txt":
        (project / "data.txt").write_text("no program")
        command = [str(project / "data.txt"), "{lr}"]
        sentence = sentence.replace("./data.txt", command[0])
    study = sweep(command)
    study.run()
    (row,) = study.frame().to_dict("records")
    if sentence == "ok":
        assert row["status"] == "ok", row["error"]
    else:
        assert (row["status"], row["error"][: len(sentence)]) == ("failed", sentence)


@pytest.mark.parametrize(
    ("command", "settings", "sentence"),
    [
        ("train {lrr}", {}, r"asks for \{lrr\}, and neither .* Did you mean \{lr\}\?"),
        ("train 'x", {}, "cannot be split into words"),
        ("", {}, "must be a command line such as"),
        ([], {}, "must be a command line such as"),
        ([True], {}, "A word of the command of sweep tried must be text, got True"),
        ({"run": "x", "metric": "o"}, {}, "Unknown option 'metric' .* Did you mean 'metrics'"),
        ({"run": "x", "keep": "some"}, {}, "keep of sweep tried must be one of always, failed"),
        ({"run": "x", "version": 0}, {}, "version of sweep tried must be from 1, got 0"),
        ({"run": "x", "shell": "yes"}, {}, "shell of sweep tried must be true or false"),
        ("train {status}", {"axes": {"status": [1]}}, "'status' is a column every row has"),
        ("train {lr}", {"seeds": 2}, "tried takes no seed: .* or write {seed} in the command"),
        ("train {lr}", {"axes": {"lr": [1], "n": [2]}}, "Unknown param 'n' in the axes"),
        ("train {lr}", {"axes": {"lr": [1, True]}}, "lr must be a number"),
        ("train {lr}", {"experiment": "toys:toy"}, "has both an experiment and a command"),
    ],
)
def test_a_command_that_is_none_is_refused_while_planning(project, command, settings, sentence):
    with pytest.raises((InvalidValueError, UnknownNameError), match=sentence):
        sweep(command, **settings)


def test_words_and_braces():
    template = read_template("run --set={{x}} '{a} b'{a} {seed}", "sweep t")
    assert template.placeholders == ("a", "seed")
    assert template.words({"a": "1 '2", "seed": "0"}) == ["run", "--set={x}", "1 '2 b1 '2", "0"]
    shell = read_template({"run": "echo {a} | wc -c", "shell": True}, "sweep t")
    assert shell.words({"a": "1; rm *"}) == ["/bin/sh", "-c", "echo '1; rm *' | wc -c"]


def alive(pid):
    """Whether a process is there, and more than a zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


PATIENCE_S = 60.0  # nothing is measured: a wait in vain ends


def wait_until(holds):
    end = time.monotonic() + PATIENCE_S
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


def gone(pid):
    return wait_until(lambda: not alive(pid))


def wait_for(path):
    assert wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
    return [int(pid) for pid in path.read_text().split()]


# The program, and a grandchild in the background that holds its output open.
FAMILY = "sleep 1000 & echo $$ $! > pids; {end}"


def test_nothing_that_a_program_started_outlives_it(tmp_path):
    done = run_process(
        ["/bin/sh", "-c", FAMILY.format(end="echo ended")], tmp_path, os.environ, 1000
    )
    assert (done.code, done.out) == (0, "ended\n")
    assert all(map(gone, wait_for(tmp_path / "pids")))


def test_an_interrupt_ends_the_whole_group(tmp_path):
    stubborn = FAMILY.format(end="trap '' TERM; wait")

    def interrupt():
        wait_for(tmp_path / "pids")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_process(["/bin/sh", "-c", stubborn], tmp_path, os.environ, 1000)
    thread.join(60)
    assert not thread.is_alive()
    assert all(map(gone, wait_for(tmp_path / "pids")))


def test_a_worker_that_is_killed_leaves_none(tmp_path):
    code = (
        "import os, sys; from pathlib import Path\n"
        "from lawsweep.core.commands.process import run_process\n"
        f"run_process(['/bin/sh', '-c', {FAMILY.format(end='wait')!r}], Path({str(tmp_path)!r}), "
        "os.environ, 1000)"
    )
    worker = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", code])
    pids = wait_for(tmp_path / "pids")
    assert all(map(alive, pids))
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    assert all(map(gone, pids))


def test_a_whole_number_that_a_float_cannot_hold_is_refused(project):
    with pytest.raises(InvalidValueError, match="lr=9007199254740993 would be rounded"):
        sweep("true {lr}", axes={"lr": [1, 2**53 + 1]})
    assert len(sweep("true {lr}", axes={"lr": [10**17, 2.5]}).plan.run_ids) == 2


@pytest.mark.parametrize(
    ("value", "word"),
    [(8.0, "8"), (1e17, "100000000000000000"), (float(2**53 + 2), "9007199254740994"),
     (-1e21, "-1000000000000000000000"), (1.5e22, "1.5e+22"), (0.1, "0.1"), (True, "true"),
     ("1e3", "1e3"), (float("inf"), "inf")],
)  # fmt: skip
def test_a_whole_number_is_spelled_in_digits(value, word):
    assert spelled(value) == word


def test_of_a_long_output_the_first_and_the_last_is_kept(tmp_path):
    code = "for i in range(100000): print(i)\nprint('{\"a\": 1}')"
    done = run_process([sys.executable, "-c", code], tmp_path, os.environ, 1000)
    assert done.cut
    assert done.out.startswith("0\n1\n")
    assert done.out.endswith('99999\n{"a": 1}\n')
    kept = (tmp_path / "stdout.txt").read_text()
    assert len(kept) < 1100
    assert "bytes left out" in kept
    # Metrics in what is left out, or longer than what is kept, are found; the last line counts.
    code = "print('y' * 600); print('{\"a\": 1}'); print('x' * 90000 + 'y\\n' * 9000)"
    inside = run_process([sys.executable, "-c", code], tmp_path, os.environ, 1000)
    assert _of_output(inside) == {"a": 1}
    code = "print('{\"a\": 1}'); print('{\"a\":', list(range(90000)), '}'); print('.')"
    wide = run_process([sys.executable, "-c", code], tmp_path, os.environ, 1000)
    assert _of_output(wide) == {"a": list(range(90000))}
    assert (tmp_path / "stdout.txt").stat().st_size < 1100
    long = run_process([sys.executable, "-c", "print('{' * 5000)"], tmp_path, os.environ, 1000)
    assert long.cut
