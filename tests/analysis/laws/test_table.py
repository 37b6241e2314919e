"""The table of fits: text within a width, LaTeX that is escaped, CSV that is read back."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.analysis.laws.table import _short, fit_rows, fit_table, latex_number, latex_text
from lawsweep.core.errors import UnknownNameError

N = np.array([10.0, 20.0, 40.0, 80.0, 160.0])


@pytest.fixture
def fits():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "n": np.tile(N, 3),
            "kind": np.repeat(["=1+1", "b_%", "none"], 5),
            "y": np.concatenate([1e-6 * N**2 * np.exp(0.01 * rng.standard_normal(5)), N, -N]),
            "status": "ok",
        }
    )
    specs = parse_fits(
        [
            {"law": "power", "x": "n", "y": "y", "by": "kind", "name": "one_law"},
            {"law": "linear", "x": "n", "y": "n**2", "name": "bent"},
        ],
        list(frame.columns),
    )
    return [found for spec in specs for found in fit(frame, spec)]


def test_the_text_has_each_fit_under_its_name_and_keeps_within_the_width(fits):
    text = fit_table(fits, width=72)
    first, second = text.split("\n\n")
    assert first.splitlines()[0] == "one_law (power, 95 %)"
    assert second.splitlines()[0] == "bent (linear, 95 %)"
    assert max(map(len, text.splitlines())) <= 72
    assert "no fit:" in first
    head = first.splitlines()[1].split()
    assert head[:4] == ["kind", "parameter", "estimate", "interval"]
    wide = fit_table(fits, width=1000)
    assert len(wide.splitlines()) < len(text.splitlines())
    assert " ".join(wide.split()).count("no fit: ") == 1


def test_csv_is_read_back_with_every_digit_and_no_cell_is_a_formula(fits):
    text = fit_table(fits, "csv")
    assert text.endswith("\r\n")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [r["kind"] for r in rows[:2]] == ["'=1+1", "'=1+1"]
    assert float(rows[1]["estimate"]) == fits[0]["exponent"].estimate
    assert float(rows[1]["low"]) == fits[0]["exponent"].low
    lost = next(r for r in rows if r["kind"] == "none")
    assert (lost["parameter"], lost["estimate"]) == ("", "")
    assert lost["verdict"].startswith("no fit: ")
    assert {r["fit"] for r in rows} == {"one_law", "bent"}


def test_latex_is_escaped_rounded_and_has_as_many_cells_as_columns(fits):
    lines = fit_table(fits, "latex").splitlines()
    assert lines[0] == r"\begin{tabular}{lrlrlr}"
    assert lines[-1] == r"\end{tabular}"
    body = [x for x in lines if x.endswith(r"\\")]
    for line in body:
        cells = line.replace(r"\&", "").count("&") + 1
        assert cells == (4 if "multicolumn" in line else 6)
    assert r"one\_law & b\_\% & exponent & $1$" in "\n".join(body)
    exponent = fits[0]["exponent"].interval().split()[0]
    assert f"exponent & ${exponent}$ & {{[$" in "\n".join(body)
    assert latex_text("a_b & 5 % of {x}^2~\\") == (
        r"a\_b \& 5 \% of \{x\}\textasciicircum{}2\textasciitilde{}\textbackslash{}"
    )
    assert latex_number("-1.2e-05") == r"$-1.2 \cdot 10^{-5}$"
    assert (latex_number("inf"), latex_number("-inf"), latex_number("nan")) == (
        r"$\infty$", r"$-\infty$", "--",
    )  # fmt: skip


def test_a_row_says_where_its_interval_is_from(fits):
    rows = fit_rows(fits)
    assert {r.source for r in rows if r.parameter} == {"scatter"}
    assert [r.parameter for r in rows].count(None) == 1
    with pytest.raises(UnknownNameError, match="Did you mean 'latex'"):
        fit_table(fits, "latx")


def test_a_verdict_is_cut_between_its_parts_and_not_within_brackets():
    said = "one power law is not supported: it bends (p = 0.05; by replicates 0.1); and more"
    assert _short(said) == "not supported: it bends (p = 0.05; by replicates 0.1)"
    assert _short("one power law is not supported: at x = 3; beyond") == "not supported: at x = 3"
