"""What hands that know other tools write is told what it is called here."""

from __future__ import annotations

import re

import pytest

from lawsweep.cli.main import run_command
from lawsweep.config.compose import load_sweep
from lawsweep.core.errors import LawsweepError


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("hydra.run.dir=out", "results_dir="),
        ("hydra.sweep.dir=out", "results_dir="),
        ("hydra/launcher=joblib", "executor=serial"),
        ("n=1,2", "Write params.n=1,2."),
        ("+n=3", "Write params.n=3."),
        ("SCALE=0.5", "Write params.scale=0.5."),
        ("seed=3", r"seeds=[3]"),
        ("seeed=3", "Did you mean 'seeds'"),
        ("whatever=3", "Unknown key 'whatever'"),
    ],
)
def test_an_override_by_another_name(toy_sweep, override, said):
    with pytest.raises(LawsweepError, match=re.escape(said)):
        load_sweep("toys", override)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("defaults: [_self_]\n", "has a defaults list"),
        ("axes: {n: [1], scale: '1e-3,1e-4'}\n", "Write scale: [1e-3, 1e-4]."),
        ("axes: {n: '1, 2'}\n", "Write n: [1, 2]."),
        ("axes: {n: [1], seed: [0, 1]}\n", "seeds: [0, 7] beside axes"),
        ("axes: {n: [1]}\nparams: {seed: 1}\n", "seeds: [0, 7] beside axes"),
        ("axes: {n: {values: [1, 2]}}\n", "Write n: [1, 2]."),
        ("axes: {n: {value: 1}}\n", "Write n: [1]."),
        ("axes: {n: {min: 1, max: 9}}\n", "Write n: linspace(1, 9, 5)"),
        ("axes: {n: [1]}\nparams: {scale: inf}\n", ".inf, with a dot"),
        ("axes: {n: [1]}\nparams: {scale: '1,2'}\n", "a list, [1, 2], under axes"),
    ],
)
def test_a_sweep_file_as_elsewhere(toy_sweep, folder, lines, said):
    (folder / "sweeps" / "other.yaml").write_text(f"experiment: toys:toy\nseeds: 1\n{lines}")
    with pytest.raises(LawsweepError, match=re.escape(said)):
        load_sweep("other").plan()


@pytest.mark.parametrize("values", ["[no, yes]", "['no', 'yes']"])
def test_no_is_a_text_where_text_is_asked_for(toy_sweep, folder, values):
    (folder / "words.py").write_text(
        "from dataclasses import dataclass\nfrom lawsweep import experiment\n"
        "@dataclass(frozen=True)\nclass P:\n    word: str\n"
        "@dataclass(frozen=True)\nclass M:\n    y: float\n"
        "@experiment(version=1)\ndef words(params: P, seed: int) -> M:\n    return M(1.0)\n"
    )
    (folder / "sweeps" / "words.yaml").write_text(
        f"experiment: words:words\naxes: {{word: {values}}}\n"
    )
    assert load_sweep("words").plan().params["word"].tolist() == ["no", "yes"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "toys", "-m", "params.n=1,2"], "-m, of Hydra's, is not needed"),
        (["run", "toys", "--multirun"], "params.lr=0.1,0.01"),
        (["plan", "toys", "--cfg", "job"], "lawsweep plan SWEEP"),
        (["run", "--config-name", "toys"], "path"),
    ],
)
def test_an_option_of_hydras(toy_sweep, capsys, arguments, said):
    assert run_command(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("lawsweep: ")
    assert error.count("\n") == 1


def test_an_option_of_nobodys_is_clicks_to_tell(toy_sweep, capsys):
    assert run_command(["plan", "toys", "--nothing"]) == 2
    assert "No such option" in capsys.readouterr().err


def test_the_callers_hydra_is_as_it_was(toy_sweep, folder):
    """Its objects, what the job is called, the version it behaves as and the stored configs."""
    from hydra import compose, initialize_config_dir, version
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.utils import JobRuntime

    (folder / "mine").mkdir()
    (folder / "mine" / "config.yaml").write_text("a: 1\n")
    with initialize_config_dir(str(folder / "mine"), job_name="mine", version_base="1.2"):
        held, hydra = GlobalHydra.instance(), GlobalHydra.instance().hydra
        stored = sorted(ConfigStore.instance().repo)
        load_sweep("toys", "executor=serial")
        with pytest.raises(LawsweepError):
            load_sweep("toys", "executor=nothing")
        assert run_command(["plan", "toys"]) == 0
        assert GlobalHydra.instance() is held
        assert held.hydra is hydra
        assert hydra is not None
        assert JobRuntime.instance().get("name") == "mine"
        assert version.getbase() == version.Version("1.2")
        assert sorted(ConfigStore.instance().repo) == stored
        assert compose("config").a == 1
    assert not GlobalHydra.instance().is_initialized()
    load_sweep("toys")
    assert not GlobalHydra.instance().is_initialized()
