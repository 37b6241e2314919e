"""Samples of every law and of a user's files; what cannot be used is refused in one sentence."""

import io
import sys

import numpy as np
import pandas as pd
import pytest

from lawsweep import LawsweepError
from lawsweep.core.outcome import RunSpec
from lawsweep.experiments.ntk_min_eig import Params, ntk_min_eig
from lawsweep.experiments.ntk_min_eig import inputs as _ntk_inputs
from lawsweep.experiments.ntk_min_eig import params as _ntk_params
from lawsweep.worker.execute import execute_run

POINT = {"n_samples": 12, "input_dim": 5, "width": 9, "depth": 3, "activation": "tanh"}


def run(seed=0, **changes):
    return ntk_min_eig(**{**POINT, **changes}, seed=seed)


def samples(seed=0, **changes):
    import torch

    params = Params(**{**POINT, **changes})
    return _ntk_inputs.inputs(params, seed, torch.float64, "cpu")


@pytest.fixture
def rows():
    return np.random.default_rng(0).standard_normal((30, 5))


def saved(folder, rows, suffix):
    path = folder / f"rows{suffix}"
    frame = pd.DataFrame(rows, columns=list("abcde"[: rows.shape[1]]))
    if suffix == ".npy":
        np.save(path, rows)
    elif suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return f"file:{path}"


@pytest.mark.parametrize("law", _ntk_params.LAWS)
def test_every_law_runs_and_a_larger_sample_extends_a_smaller_one(law):
    d = 64 if law == "digits" else 5
    small, large = samples(data=law, input_dim=d), samples(data=law, input_dim=d, n_samples=20)
    assert np.array_equal(large.x[:12], small.x)
    assert not np.array_equal(samples(seed=1, data=law, input_dim=d).x, small.x)
    row = run(data=law, input_dim=d)
    assert row.converged
    assert (row.data_digest is None) == (law != "digits")
    assert (row.lambda_min_limit is None) == (law not in _ntk_inputs.ROW_LAWS)


def test_laws_take_their_params():
    assert run(data="mixture", separation=8.0) != run(data="mixture")
    assert run(data="mixture", n_clusters=5) != run(data="mixture")
    spectrum = [3.0, 1.0, 0.5, 0.25, 0.25]
    assert run(data="correlated", covariance_exponent=2.0) != run(data="correlated")
    assert run(data="correlated", covariance_spectrum=spectrum) != run(data="correlated")
    assert run(data="correlated", covariance_spectrum=[1.0] * 5).lambda_min == run().lambda_min


def test_digits_are_standardised_pixel_by_pixel():
    x = samples(data="digits", input_dim=64, n_samples=1797).x.numpy()
    np.testing.assert_allclose(x.mean(0), 0.0, atol=1e-13)
    variances = (x * x).mean(0)
    assert np.sum(variances == 0.0) == 3
    np.testing.assert_allclose(variances[variances > 0], 1.0, rtol=1e-12)


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".csv"])
def test_a_file_is_taken_as_it_is_in_a_seeded_order(tmp_path, rows, suffix):
    data = saved(tmp_path, rows, suffix)
    x = samples(data=data, n_samples=30).x.numpy()
    order = np.argsort(x[:, 0])
    np.testing.assert_array_equal(x[order], rows[np.argsort(rows[:, 0])])
    assert not np.array_equal(x, rows)
    assert run(data=data, seed=1).lambda_min != run(data=data, seed=2).lambda_min
    assert run(data=data) == run(data=data)


def test_the_same_numbers_in_another_format_give_the_same_row_but_another_digest(tmp_path, rows):
    one, two = (run(data=saved(tmp_path, rows, s)) for s in (".npy", ".parquet"))
    assert one.lambda_min == two.lambda_min
    assert len(one.data_digest) == 32
    assert one.data_digest != two.data_digest


def test_a_file_that_was_replaced_is_read_again(tmp_path, rows):
    before = run(data=saved(tmp_path, rows, ".npy"))
    after = run(data=saved(tmp_path, np.vstack([rows, rows[:1] + 1.0]), ".npy"))
    assert before.data_digest != after.data_digest


def test_duplicate_samples_of_a_file_are_an_exact_zero(tmp_path, rows):
    rows[7] = rows[3]
    row = run(data=saved(tmp_path, rows, ".npy"), n_samples=30)
    assert (row.lambda_min, row.zero_reason) == (0.0, "duplicate")
    assert row.solver_used == "exact"


def test_a_zero_sample_has_no_gradient_in_an_odd_network(tmp_path, rows):
    rows[4] = 0.0
    row = run(data=saved(tmp_path, rows, ".npy"), n_samples=30, width=20)
    assert (row.lambda_min, row.zero_reason) == (0.0, "zero_gradient")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: r[:, :4], r"must have shape \(n, 5\), one sample a row, got \(30, 4\)"),
        (lambda r: r.ravel(), r"got \(150,\)"),
        (lambda r: np.where(r == r[3, 2], np.nan, r), "has nan at row 3, column 2, counted from 0"),
        (lambda r: np.where(r == r[3, 2], np.inf, r), "has inf at row 3, column 2"),
        (lambda r: r.astype(complex), "must hold real numbers, got complex128"),
        (lambda r: r.astype(object), "cannot read .* as .npy: Object arrays cannot be loaded"),
        (lambda r: r[:11], "has 11 rows, got n_samples=12; ask for fewer samples"),
    ],
)
def test_an_array_that_cannot_be_used(tmp_path, rows, spoil, message):
    np.save(tmp_path / "rows.npy", spoil(rows))
    with pytest.raises(ValueError, match=message):
        run(data=f"file:{tmp_path / 'rows.npy'}")


def test_files_that_are_not_what_they_say(tmp_path, rows):
    for suffix in (".npy", ".parquet", ".csv"):
        path = tmp_path / f"bad{suffix}"
        path.write_bytes(b"\x00not a table")
        with pytest.raises(ValueError, match=rf"bad\{suffix}"):
            run(data=f"file:{path}")
    with pytest.raises(ValueError, match=r"cannot read .*missing\.npy': No such file or directory"):
        run(data=f"file:{tmp_path / 'missing.npy'}")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(ValueError, match=r"cannot read .*folder\.npy': Is a directory; give"):
        run(data=f"file:{tmp_path / 'folder.npy'}")
    with pytest.raises(ValueError, match=r"cannot read '~nobody-of-that-name/a\.npy'"):
        run(data="file:~nobody-of-that-name/a.npy")
    text = pd.DataFrame({"a": ["x"] * 20, "b": 1.0, "c": 2.0, "d": 3.0, "e": 4.0})
    text.to_parquet(tmp_path / "text.parquet")
    with pytest.raises(ValueError, match=r"column 'a' holds .*string, not numbers; drop it"):
        run(data=f"file:{tmp_path / 'text.parquet'}")
    gap = pd.DataFrame(rows, columns=list("abcde"))
    gap.loc[2, "c"] = None
    gap.to_parquet(tmp_path / "gap.parquet")
    with pytest.raises(ValueError, match="has nan at row 2, column 2"):
        run(data=f"file:{tmp_path / 'gap.parquet'}")


def test_a_bad_file_is_a_failed_row_with_its_sentence(tmp_path, rows):
    params = {**POINT, "data": saved(tmp_path, rows[:, :3], ".npy")}
    got = execute_run(ntk_min_eig, RunSpec(0, "x", params, 0))
    assert got.status == "failed"
    assert "one sample a row, got (30, 3); set input_dim" in got.error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "gausian"}, "Unknown data 'gausian'. Did you mean 'gaussian'"),
        ({"data": "file:x.txt"}, "must end in .npy, .parquet, .csv; convert the file"),
        ({"data": "digits"}, "1797 samples of input_dim=64, got n_samples=12 and input_dim=5"),
        ({"data": "digits", "input_dim": 64, "n_samples": 1798}, "got n_samples=1798"),
        ({"n_clusters": 3}, "n_clusters is a param of data='mixture', got data='gaussian'"),
        ({"separation": 2.0}, "separation is a param of data='mixture'"),
        ({"covariance_exponent": 2.0}, "covariance_exponent is a param of data='correlated'"),
        ({"covariance_spectrum": [1] * 5}, "covariance_spectrum is a param of data='correlated'"),
        (
            {"data": "correlated", "covariance_spectrum": [1.0, 2.0]},
            r"must have input_dim=5 finite eigenvalues of 0 or more, got 2 of them: \[1.0, 2.0\]",
        ),
        (
            {"data": "correlated", "covariance_spectrum": [1.0] * 5, "covariance_exponent": 2.0},
            "covariance_spectrum replaces covariance_exponent; drop one of them",
        ),
    ],
)
def test_params_that_do_not_fit_the_data(changes, message):
    with pytest.raises(LawsweepError, match=message):
        run(**changes)


def test_without_scikit_learn_the_digits_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    _ntk_inputs._digits.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'lawsweep\[data\]'"):
        run(data="digits", input_dim=64)
    _ntk_inputs._digits.cache_clear()


def test_csv_needs_a_header_line(tmp_path, rows):
    """Columns are named in the first line; it is no sample."""
    text = io.StringIO()
    np.savetxt(text, rows, delimiter=",", header="a,b,c,d,e", comments="")
    (tmp_path / "rows.csv").write_text(text.getvalue())
    assert samples(data=f"file:{tmp_path / 'rows.csv'}", n_samples=30).x.shape == (30, 5)
