"""An activation of the user's own: ``activation: module:function``, from a file outside."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

import lawsweep
from lawsweep import Sweep
from lawsweep.core.code.source import OtherCode
from lawsweep.core.errors import LawsweepError
from lawsweep.core.registry import find_experiment
from lawsweep.experiments.compression import compression
from lawsweep.experiments.memorization import memorization
from lawsweep.experiments.ntk_memorization import ntk_memorization
from lawsweep.experiments.ntk_min_eig import ntk_min_eig
from lawsweep.experiments.ntk_min_eig.run import draw
from lawsweep.kernels.activations import ACTIVATIONS, Activation, activation
from lawsweep.kernels.gaussian.duals import duals
from lawsweep.kernels.gaussian.pairs import Covariance
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk.limits import layer_limits
from lawsweep.kernels.ntk.rank import Samples, ZeroReason
from lawsweep.store.sweeps.skipping import OtherCodeWarning

OWN = """
import torch
from bent_part import AMOUNT

def bent(x):
    return torch.tanh(x) + AMOUNT * x

def gaussian(x):
    return torch.exp(-0.5 * x * x)

def tanh_again(x):
    return torch.tanh(x)

def relu_again(x):
    return torch.relu(x)

def total(x):
    return x.sum()

def softmax(x):
    return torch.softmax(x, -1)

def noisy(x):
    return x + torch.rand_like(x)

def in_place(x):
    return x.relu_()

def wide(x):
    return x.double()

def log(x):
    return torch.log(x)

number = 3
"""
POINT = {"n_samples": 10, "input_dim": 4, "width": 5, "depth": 3}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the working folder, under a name that nothing else remembers."""
    name = f"bent_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(OWN)
    (tmp_path / "bent_part.py").write_text("AMOUNT = 0.25\n")
    (tmp_path / f"{name}_broken.py").write_text("import torch\nnonsense\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    sys.modules.pop("bent_part", None)
    return name


def sweep(own, **fields):
    return Sweep(
        name="own",
        experiment="ntk_min_eig",
        params={**POINT, **fields},
        axes={"activation": [f"{own}:bent", "relu"]},
        seeds=2,
        executor={"kind": "serial"},
    )


def dense(params, seed, f):
    """lambda_min by the Jacobian of autograd, sample by sample."""
    given, weights = draw(params, seed, "cpu")

    def output(ws, x):
        for w in ws[:-1]:
            x = f(x @ w)
        return (x @ ws[-1])[0]

    rows = []
    for x in given.x:
        grads = torch.func.grad(output)(weights, x)
        rows.append(torch.cat([g.reshape(-1) for g in grads]))
    jacobian = torch.stack(rows)
    return float(torch.linalg.eigvalsh(jacobian @ jacobian.T)[0])


def test_a_sweep_over_an_activation_from_a_file_outside(own):
    frame = lawsweep.run(sweep(own)) and lawsweep.load(sweep(own))
    assert (frame["status"] == "ok").all()
    for row in frame[frame["activation"] == f"{own}:bent"].itertuples():
        params = ntk_min_eig.bind({**POINT, "activation": row.activation})
        expected = dense(params, row.seed, lambda g: torch.tanh(g) + 0.25 * g)
        assert row.lambda_min == pytest.approx(expected, rel=1e-8)
        assert row.lambda_min_limit > 0.0


def test_its_code_is_recorded_with_the_rows_and_an_edit_is_told(own, tmp_path):
    lawsweep.run(sweep(own))
    (path,) = (tmp_path / "results/sweeps/own/launches").glob("*.json")
    code = json.loads(path.read_text())["code"]
    assert code["named"] == [own]
    assert {f"{own}.py", "bent_part.py"} <= set(code["files"])
    compare = OtherCode(find_experiment("ntk_min_eig"))
    assert compare.changed(code) == ()
    (tmp_path / "bent_part.py").write_text("AMOUNT = 0.5\n")
    assert OtherCode(find_experiment("ntk_min_eig")).changed(code) == ("bent_part.py",)
    with pytest.warns(OtherCodeWarning, match="changed since: bent_part.py"):
        lawsweep.archive(sweep(own), "out")
    assert (tmp_path / "out" / f"{own}.py").exists()


def test_from_the_command_line_in_a_fresh_process(own, tmp_path):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/mine.yaml").write_text(
        "experiment: ntk_min_eig\nparams: {n_samples: 6, input_dim: 3, width: 4, depth: 3}\n"
        f"axes: {{activation: [{own}:bent]}}\nseeds: 1\nexecutor: serial\n"
    )
    command = [sys.executable, "-P", "-m", "lawsweep.cli.main", "run", "mine"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pinned = [*command, f"params.activation={own}:missing"]
    done = subprocess.run(pinned, capture_output=True, text=True, check=False)
    assert done.returncode == 11, done.stdout + done.stderr
    assert "Unknown activation 'missing'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module_here:f", "Cannot find the module 'no_such_module_here' of activation"),
        ("{own}_broken:f", "Importing '{own}_broken' of activation .* at line 2 of"),
        ("{own}:bend", "Unknown activation 'bend' in module {own}. Did you mean 'bent'"),
        ("{own}:number", "must be a function of a tensor, got 3"),
        ("{own}:total", "must map a tensor of shape .2, 3. of torch.float64 to one like it"),
        ("{own}:softmax", "must map each number by itself"),
        ("{own}:noisy", "must map each number by itself, always alike"),
        ("{own}:in_place", "leave its argument as it is"),
        ("{own}:wide", "of torch.float32 to one like it, got one of .* of torch.float64"),
        ("{own}:log", "is not finite on"),
        ("{own}:", "must be written module:function"),
        ("bendt", "activation must be one of .* or your own module:activation"),
    ],
)
def test_what_is_wrong_is_one_sentence_before_anything_runs(own, name, said):
    with pytest.raises(LawsweepError, match=said.format(own=own)) as error:
        lawsweep.plan(sweep(own, infinite_width_up_to=0).__class__(
            name="wrong", experiment="ntk_min_eig",
            params={**POINT, "activation": name.format(own=own)},
        ))  # fmt: skip
    assert "\n" not in str(error.value)


def test_all_experiments_take_it(own):
    mine = f"{own}:bent"
    row = memorization(n_samples=6, input_dim=4, width=5, depth=3, activation=mine, max_steps=20,
                       measure_kernel=True)  # fmt: skip
    assert row.best_loss < row.initial_loss
    assert row.n_dead_samples is None
    least = memorization(n_samples=6, input_dim=4, width=8, depth=3, activation=mine,
                         optimizer="levenberg_marquardt", max_steps=200)  # fmt: skip
    assert least.memorized
    built = ntk_memorization(n_samples=6, input_dim=4, width=8, depth=3, activation=mine)
    assert built.memorized
    pressed = compression(input_dim=3, n_target=4, n_compressed=2, activation=mine,
                          student_outputs="trained")  # fmt: skip
    assert pressed.converged
    assert pressed.quadrature_error <= 1e-9 * abs(pressed.objective_value)
    with pytest.raises(LawsweepError, match="absorbed' needs a homogeneous activation"):
        compression(input_dim=3, n_target=4, n_compressed=2, activation=mine)


@pytest.mark.parametrize("solver", ["dense", "cholesky_lanczos", "matrix_free", "sharded"])
def test_every_solver_takes_it(own, solver):
    point = {**POINT, "n_samples": 30, "width": 12}
    mine = ntk_min_eig(**point, activation=f"{own}:tanh_again", solver=solver)
    ours = ntk_min_eig(**point, activation="tanh", solver=solver)
    assert mine.lambda_min == pytest.approx(ours.lambda_min, rel=1e-6)
    assert mine.converged


@pytest.mark.parametrize("ours", ["tanh", "relu"])
def test_its_slope_and_expectations_are_those_of_the_entry(own, ours):
    assert ntk_min_eig(**POINT, activation=f"{own}:bent").converged  # makes it importable
    mine, known = activation(f"{own}:{ours}_again"), activation(ours)
    x = torch.linspace(-3.0, 3.0, 11, dtype=torch.float64).reshape(1, 11)
    for dtype in (torch.float64, torch.float32):
        at = x.to(dtype)
        assert mine.df(at).dtype == dtype
        torch.testing.assert_close(mine.df(at), known.df(at), rtol=1e-6, atol=1e-6)
        with torch.no_grad():
            assert not mine.df(at).requires_grad
        with torch.inference_mode():
            torch.testing.assert_close(mine.df(at.clone()), known.df(at), rtol=1e-6, atol=1e-6)
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((5, 6)))
    pairs = Covariance.of_rows(rows).times(1.0 / 6)
    (got, slope, error), (exact, sharp, _) = duals(pairs, mine), duals(pairs, known)
    scale = exact.sigma.diagonal().sqrt()
    bound = got.error * scale.unsqueeze(1) * scale
    assert bool(((got.sigma - exact.sigma).abs() <= bound + 1e-15).all())
    steep = sharp.diagonal().sqrt()
    assert bool(((slope - sharp).abs() <= error * steep.unsqueeze(1) * steep + 1e-15).all())
    # A kink that is not known of leaves the limit's quadrature with the error it says.
    found = layer_limits(Network((50, 50, 50, 1), mine))
    assert (found.error < 1e-9) == (ours == "tanh")
    assert mine.kinked and mine.parity is None and not mine.homogeneous  # noqa: PT018


def test_an_entry_outside_says_its_traits_and_is_held_to_them(own, tmp_path):
    (tmp_path / f"{own}_entry.py").write_text(
        "from lawsweep.kernels.activations import Activation\n"
        "f = lambda x: x.clamp(-1.0, 1.0)\n"
        "df = lambda x: (x.abs() < 1.0).to(x.dtype)\n"
        "hard = Activation('hard', f, df, kinks=(-1.0, 1.0), parity='odd')\n"
        "wrong = Activation('wrong', f, df, kinks=(-1.0, 1.0), parity='even')\n"
        "steep = Activation('steep', f, lambda x: 2 * df(x))\n"
    )
    row = ntk_min_eig(**POINT, activation=f"{own}_entry:hard")
    assert math.isfinite(row.lambda_min_limit)
    opposite = torch.tensor([[1.0, 2.0], [-1.0, -2.0]], dtype=torch.float64)
    hard = activation(f"{own}_entry:hard")
    assert Samples.of(opposite, hard, False, 3).zero is ZeroReason.ANTIPODAL
    assert Samples.of(opposite, activation(f"{own}:bent"), False, 3).zero is None
    with pytest.raises(LawsweepError, match="not what its entry says: parity 'even'"):
        ntk_min_eig(**POINT, activation=f"{own}_entry:wrong")
    with pytest.raises(LawsweepError, match="not what its entry says: its slope"):
        ntk_min_eig(**POINT, activation=f"{own}_entry:steep")


def test_a_function_of_an_installed_package(own):
    row = ntk_min_eig(**POINT, activation="torch.nn.functional:mish")
    bound = ntk_min_eig.bind({**POINT, "activation": "torch.nn.functional:mish"})
    expected = dense(bound, 0, torch.nn.functional.mish)
    assert row.lambda_min == pytest.approx(expected, rel=1e-8)


def test_an_entry_added_to_the_table_is_one_line(monkeypatch):
    entry = Activation("cubic", lambda x: x**3, lambda x: 3 * x * x, parity="odd")
    monkeypatch.setitem(ACTIVATIONS, "cubic", entry)
    assert activation("cubic") is entry
    pairs = Covariance.of_rows(torch.eye(2, dtype=torch.float64) + 0.5)
    a, c = float(pairs.sigma[0, 0]), float(pairs.sigma[0, 1])
    value, slope, _ = duals(pairs, entry)
    assert float(value.sigma[0, 1]) == pytest.approx(6 * c**3 + 9 * a * a * c, rel=1e-12)
    assert float(slope[0, 1]) == pytest.approx(9 * (a * a + 2 * c * c), rel=1e-12)
