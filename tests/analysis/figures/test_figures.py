import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread

from lawsweep.analysis.figures import draw as draw_module
from lawsweep.analysis.figures.draw import draw, make_figure, plain_log_ticks
from lawsweep.analysis.figures.kinds import find_kind, parse_figures
from lawsweep.analysis.figures.of_rows import heatmap
from lawsweep.analysis.frames import Columns
from lawsweep.core.errors import InvalidValueError, UnknownNameError

CURVE = {"kind": "curve", "x": "width**2", "y": "edge", "by": "n"}
HEATMAP = {"kind": "heatmap", "x": "n", "y": "width", "z": "edge"}


def sweep(n_seeds=4, backend="pyarrow"):
    """edge = n width (1 + 0.1 (seed − mean seed)): means and deviations by hand."""
    rows = [
        {
            "n": n,
            "width": width,
            "seed": seed,
            "edge": n * width * (1 + 0.1 * (seed - (n_seeds - 1) / 2)),
            "theory": float(n * width),
            "floor": float(width),
            "status": "ok",
            "converged": True,
        }
        for n in (100, 300)
        for width in (10, 20, 50, 100)
        for seed in range(n_seeds)
    ]
    frame = pd.DataFrame(rows)
    return frame.convert_dtypes(dtype_backend="pyarrow") if backend == "pyarrow" else frame


def spec_of(frame, **entry):
    return parse_figures([entry], list(frame.columns))[0]


def painted(frame, **entry):
    """The axes after painting, and the notes for the footer."""
    spec = spec_of(frame, **entry)
    axes = Figure().add_subplot()
    return axes, find_kind(spec.kind).paint(axes, Columns(frame), spec, None)


def legend_of(axes):
    legend = axes.get_legend() or axes.figure.legends[0]
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("backend", ["numpy", "pyarrow"])
def test_a_curve_is_the_mean_over_seeds_at_each_x(backend):
    axes, notes = painted(sweep(backend=backend), **CURVE)
    assert len(axes.lines) == 2
    for line, n in zip(axes.lines, (100, 300), strict=True):
        assert line.get_xdata().tolist() == [100, 400, 2500, 10000]
        # four rows a mean: a few roundings
        np.testing.assert_allclose(line.get_ydata(), n * np.array([10, 20, 50, 100]), rtol=1e-14)
    assert axes.get_legend().get_title().get_text() == "n"
    assert legend_of(axes) == ["100", "300"]
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")
    assert notes == ["points: mean over seeds; band: ±1 sd"]


@pytest.mark.parametrize(
    ("band", "half"),
    [
        # seeds 0..3 deviate by ±0.05, ±0.15: variance (2 · 0.0025 + 2 · 0.0225) / 3
        ("sd", np.sqrt(0.05 / 3)),
        ("sem", np.sqrt(0.05 / 12)),
        ("minmax", 0.15),
    ],
)
def test_the_band_is_what_it_says(band, half):
    axes, _ = painted(sweep(), **CURVE, band=band)
    bands = [c for c in axes.collections if isinstance(c, PolyCollection)]
    assert len(bands) == 2
    corners = bands[0].get_paths()[0].vertices
    at_last = corners[corners[:, 0] == 10000][:, 1]
    assert at_last.min() == pytest.approx(100 * 100 * (1 - half), rel=1e-12)
    assert at_last.max() == pytest.approx(100 * 100 * (1 + half), rel=1e-12)


def test_no_band_when_none_is_asked_for():
    axes, notes = painted(sweep(), **CURVE, band="none")
    assert len(axes.collections) == 0
    assert notes == ["points: mean over seeds"]


@pytest.mark.parametrize(
    ("band", "low", "high"),
    [
        # log10 edge is 1, -1, -1, -1: mean -1/2, sd 1
        ("sd", 10**-1.5, 10**0.5),
        ("sem", 10**-1.0, 1.0),
        ("minmax", 0.1, 10.0),
    ],
)
def test_a_mean_on_a_log_axis_is_geometric_and_its_band_a_factor(band, low, high):
    frame = sweep(backend="numpy")
    frame["edge"] = np.where(frame.seed == 0, 10.0, 0.1)
    axes, notes = painted(frame, **CURVE, logy=True, band=band)
    corners = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (corners.min(), corners.max()) == pytest.approx((low, high), rel=1e-12)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 10**-0.5, rtol=1e-12)
    assert notes[0].startswith("points: geometric mean over seeds; band: ")


def test_a_fit_and_its_figure_take_the_same_mean():
    frame = sweep(backend="numpy")
    frame["edge"] = frame.width * np.exp(3.0 * (frame.seed == 0))
    for more in ({}, {"logy": False}):
        axes, _ = painted(frame, **CURVE, fit=True, **more)
        marks = axes.lines[0]
        law = next(v for v in axes.lines if v.get_linestyle() == "-")  # by the power law alone
        # The law is exact for geometric means: e^(3/4) width.
        np.testing.assert_allclose(
            marks.get_ydata(), np.exp(0.75) * np.array([10, 20, 50, 100]), rtol=1e-12
        )
        np.testing.assert_allclose(law.get_ydata()[[0, -1]], marks.get_ydata()[[0, -1]], rtol=1e-12)
        np.testing.assert_allclose(
            law.get_ydata() / np.sqrt(law.get_xdata()), np.exp(0.75), rtol=1e-12
        )


@pytest.mark.parametrize(
    ("fit", "scales", "legend"),
    [
        ("linear", ("linear", "linear"), "slope 100"),
        ("exponential", ("linear", "log"), "rate "),
        ({"law": "power", "level": 0.5}, ("log", "log"), "slope 1"),
    ],
)
def test_a_law_by_name_is_drawn_where_it_predicts(fit, scales, legend):
    frame = sweep(backend="numpy")[lambda f: f.n == 100]
    axes, _ = painted(frame, kind="curve", x="width", y="theory", fit=fit)
    assert (axes.get_xscale(), axes.get_yscale()) == scales
    (said,) = legend_of(axes)
    assert said.startswith(legend)
    law = next(v for v in axes.lines if v.get_linestyle() == "-")
    assert len(law.get_xdata()) == 2  # straight on these axes
    if fit != "exponential":  # theory = 100 width is both of the others, to rounding
        np.testing.assert_allclose(law.get_ydata(), 100 * law.get_xdata(), rtol=1e-11)


def test_a_figure_can_be_had_without_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = sweep()
    figure = make_figure(frame, spec_of(frame, **CURVE, title="All"), "40 planned: 32 ok")
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "All"
    assert not list(tmp_path.iterdir())


def test_rows_that_cannot_be_drawn_are_left_out_and_counted():
    frame = sweep()
    frame.loc[0, "edge"] = float("nan")
    frame.loc[1, "edge"] = pd.NA
    frame.loc[2, ["status", "edge"]] = ["failed", pd.NA]
    frame.loc[9, "converged"] = False
    axes, notes = painted(frame, **CURVE)
    # Only seed 3 is left at n = 100, width = 10.
    assert axes.lines[0].get_ydata()[0] == pytest.approx(1000 * 1.15)
    assert notes[:2] == [
        "2 of 31 ok rows without a finite value, not drawn",
        "1 row drawn did not converge",
    ]


def test_rows_that_a_geometric_mean_has_no_place_for_are_counted():
    frame = sweep(backend="numpy")
    frame.loc[(frame.n == 100) & (frame.width == 50), "edge"] = -1.0
    axes, notes = painted(frame, **CURVE, logy=True)
    assert axes.lines[0].get_xdata().tolist() == [100, 400, 10000]
    assert "4 rows ≤ 0 where logarithms are taken, not drawn" in notes


def test_where_selects_rows():
    axes, _ = painted(sweep(), **CURVE, where="width < 50 and n == 300")
    assert [line.get_xdata().tolist() for line in axes.lines] == [[100, 400]]


def test_means_over_different_settings_are_pointed_out():
    _, notes = painted(sweep(), kind="curve", x="width", y="edge")
    assert notes[-1].startswith("some points average different settings")


def test_lines_over_columns_are_drawn_by_group_unless_the_groups_agree():
    lines = [{"y": "theory", "label": "theory"}, {"y": "floor"}]
    axes, _ = painted(sweep(), **CURVE, lines=lines)
    theory, floor = axes.lines[2:4], axes.lines[4:]
    assert [line.get_ydata().tolist() for line in theory] == [
        [1000, 2000, 5000, 10000],
        [3000, 6000, 15000, 30000],
    ]
    assert [to_hex(line.get_color()) for line in theory] == [
        to_hex(line.get_color()) for line in axes.lines[:2]
    ]
    assert len(floor) == 1
    assert floor[0].get_ydata().tolist() == [10, 20, 50, 100]
    assert legend_of(axes) == ["100", "300", "theory", "floor"]


def test_a_fit_is_overlaid_on_log_axes_with_its_slope():
    axes, notes = painted(sweep(), **CURVE, fit=True)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert legend_of(axes) == ["100: slope 0.5 [0.5, 0.5]", "300: slope 0.5 [0.5, 0.5]"]
    fitted = [line for line in axes.lines if len(line.get_xdata()) == 2]
    ratios = [line.get_ydata()[1] / line.get_ydata()[0] for line in fitted]
    assert ratios == pytest.approx([10, 10], rel=1e-12)
    assert notes == [
        "shaded along a law: its 95 % interval",
        "points: geometric mean over seeds; band: ±1 sd of log y",
    ]


def test_a_curved_fit_says_so_in_the_footer():
    frame = sweep(backend="numpy")
    frame["edge"] = np.exp(0.1 * np.log(frame.width) ** 2 + 1e-3 * frame.seed * np.log(frame.n))
    frame.loc[frame.width == 20, "edge"] *= 1.01
    _, notes = painted(frame, **CURVE, fit=True)
    assert sum("not one power law" in note for note in notes) == 2
    assert notes[0].startswith("n=100: the local slope runs from")


def test_a_group_without_a_fit_says_why():
    axes, notes = painted(sweep(), **CURVE, fit=True, where="n == 300 or width < 50")
    assert legend_of(axes)[0] == "100"
    assert "n=100: no fit: 2 distinct points, 3 needed for an interval" in notes


def test_a_scatter_has_one_mark_a_row():
    axes, _ = painted(sweep(), kind="scatter", x="theory", y="edge", by="n", logx=True)
    assert [len(line.get_xdata()) for line in axes.lines] == [16, 16]
    assert axes.lines[0].get_linestyle() == "None"
    assert axes.get_xscale() == "log"


def test_rows_without_a_logarithm_are_not_drawn():
    frame = sweep(backend="numpy")
    frame.loc[0, "edge"] = 0.0
    axes, notes = painted(frame, kind="scatter", x="theory", y="edge", logy=True)
    assert len(axes.lines[0].get_xdata()) == 31
    assert notes == ["1 row ≤ 0 on a logarithmic scale, not drawn"]
    frame.loc[frame.width == 10, "edge"] = -1.0
    axes, notes = painted(frame, **HEATMAP, logz=True)
    (mesh,) = [c for c in axes.collections if isinstance(c, QuadMesh)]
    assert mesh.get_array().mask.sum(axis=1).tolist() == [2, 0, 0, 0]
    assert notes[0] == "8 rows ≤ 0 on a logarithmic scale, not drawn"


def test_many_groups_get_a_sequence_of_colours_and_a_short_legend():
    axes, notes = painted(
        sweep(n_seeds=20), kind="scatter", x="theory", y="edge", by=["seed"], logy=True
    )
    assert len({to_hex(line.get_color()) for line in axes.lines}) == 20
    assert len(legend_of(axes)) == 7
    assert legend_of(axes)[0] == "0"
    assert legend_of(axes)[-1] == "19"
    assert "legend names 7 of 20 groups" in notes


def test_a_legend_beside_the_axes_widens_the_figure():
    entry = {"kind": "curve", "x": "width", "y": "edge", "by": "seed", "where": "n == 100"}
    few, many = (painted(sweep(n_seeds=n), **entry)[0].figure for n in (4, 10))
    assert many.get_figwidth() > few.get_figwidth()


def test_heatmap_edges_lie_half_way_and_outer_cells_are_symmetric():
    np.testing.assert_allclose(heatmap.edges(np.array([1.0, 2.0, 6.0]), False), [0.5, 1.5, 4, 8])
    np.testing.assert_allclose(
        heatmap.edges(np.array([1.0, 4.0, 64.0]), True), [0.5, 2, 16, 256], rtol=1e-14
    )
    np.testing.assert_allclose(heatmap.edges(np.array([10.0]), False), [9, 11])
    np.testing.assert_allclose(heatmap.edges(np.array([0.0]), False), [-0.5, 0.5])


def test_a_heatmap_shows_means_and_leaves_missing_cells_open():
    frame = sweep()
    frame.loc[(frame["n"] == 300) & (frame["width"] == 50), "status"] = "oom"
    axes, notes = painted(frame, **HEATMAP)
    (mesh,) = [c for c in axes.collections if isinstance(c, QuadMesh)]
    values = mesh.get_array()
    assert values.mask.tolist() == [[False, False], [False, False], [False, True], [False, False]]
    np.testing.assert_allclose(
        values.filled(0), [[1000, 3000], [2000, 6000], [5000, 0], [10000, 30000]], rtol=1e-14
    )
    assert mesh.get_coordinates()[0, :, 0].tolist() == [0, 200, 400]
    assert mesh.get_coordinates()[:, 0, 1].tolist() == [5, 15, 35, 75, 125]
    assert legend_of(axes) == ["no result"]
    assert axes.patches[0].get_hatch() == "////"
    assert notes == ["cells: mean over seeds"]


def test_a_full_heatmap_has_no_hatching():
    axes, _ = painted(sweep(n_seeds=1), **HEATMAP, logz=True, logx=True)
    assert len(axes.patches) == 0
    assert axes.figure.legends == []
    assert axes.get_xscale() == "log"


def test_lines_over_a_heatmap_are_functions_of_its_x_and_leave_the_frame():
    axes, _ = painted(sweep(), **HEATMAP, lines=[{"y": "sqrt(x)", "label": "edge"}, {"y": "1/x"}])
    first = axes.lines[0]
    np.testing.assert_allclose(first.get_ydata(), np.sqrt(first.get_xdata()))
    assert (first.get_xdata()[0], first.get_xdata()[-1]) == axes.get_xlim() == (0, 400)
    assert axes.get_ylim() == (5, 125)
    assert legend_of(axes) == ["edge", "y = 1 / x"]


def test_points_that_form_no_grid_are_refused():
    frame = sweep(backend="numpy")
    frame["x"] = np.arange(len(frame)) * 1.0
    frame["y"] = frame["x"] ** 2
    with pytest.raises(InvalidValueError, match=r"form no grid, .* got 32 points on 32 × 32 cells"):
        painted(frame, kind="heatmap", x="x", y="y", z="edge")


def test_short_log_axes_have_plain_tick_labels():
    axes = Figure().add_subplot()
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(20, 120)
    axes.set_ylim(1e-3, 1e4)
    plain_log_ticks(axes)
    assert axes.xaxis.get_major_formatter()(100) == "100"
    assert axes.yaxis.get_major_formatter()(100) == "$\\mathdefault{10^{2}}$"


def test_two_files_are_written_with_all_parts(tmp_path):
    frame = sweep()
    spec = spec_of(frame, **CURVE, title="Edge", lines=[{"y": "theory"}], fit=True)
    paths = draw(frame, spec, tmp_path / "figures" / "ratio_0.5", "32 planned: 32 ok")
    assert paths == [tmp_path / "figures" / f"ratio_0.5.{kind}" for kind in ("png", "pdf", "svg")]
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)
    height, width, _ = imread(paths[0]).shape
    assert (height, width) == (round(4.1 * 150), round(5.6 * 150))
    assert paths[1].read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("entry", [CURVE, HEATMAP, {**CURVE, "kind": "scatter", "fit": True}])
def test_the_same_table_gives_the_same_bytes(tmp_path, entry):
    frame = sweep()
    first, second = (
        [path.read_bytes() for path in draw(frame, spec_of(frame, **entry), tmp_path / stem)]
        for stem in ("a", "b")
    )
    assert first == second
    assert b"CreationDate" not in first[1]


def test_a_file_is_the_same_whatever_is_written_beside_it(tmp_path):
    frame = sweep()
    _, _, beside = draw(frame, spec_of(frame, **CURVE), tmp_path / "a")
    (alone,) = draw(frame, spec_of(frame, **CURVE, formats=["svg"]), tmp_path / "b")
    assert alone.read_bytes() == beside.read_bytes()


def test_labels_that_figures_share_change_no_byte(tmp_path, monkeypatch):
    from matplotlib.mathtext import MathTextParser

    own = MathTextParser._parse_cached
    frame = sweep()
    spec = spec_of(frame, **CURVE, title=r"$\alpha_{1}$ of a$^2$")
    shared = [path.read_bytes() for path in draw(frame, spec, tmp_path / "a")]
    assert MathTextParser._parse_cached is own
    monkeypatch.setattr(draw_module, "shared_labels", contextlib.nullcontext)
    alone = [path.read_bytes() for path in draw(frame, spec, tmp_path / "c")]
    assert shared == alone


def test_a_failed_write_leaves_the_old_figure_and_no_rubbish(tmp_path, monkeypatch):
    frame = sweep()
    spec = spec_of(frame, **CURVE)
    before = [path.read_bytes() for path in draw(frame, spec, tmp_path / "a")]

    def half_a_file(self, file, **options):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", half_a_file)
    with pytest.raises(OSError, match="disk full"):
        draw(frame, spec, tmp_path / "a")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pdf", "a.png", "a.svg"]
    assert [(tmp_path / f"a.{kind}").read_bytes() for kind in ("png", "pdf", "svg")] == before


def footer_of(monkeypatch, tmp_path, frame, entry, caption):
    texts = []
    supxlabel = Figure.supxlabel
    monkeypatch.setattr(
        Figure, "supxlabel", lambda self, t, **kw: texts.append(t) or supxlabel(self, t, **kw)
    )
    draw(frame, spec_of(frame, **entry), tmp_path / "a", caption)
    return texts


def test_the_footer_holds_the_caption_and_the_counts(monkeypatch, tmp_path):
    frame = sweep()
    frame.loc[0, "edge"] = pd.NA
    found = footer_of(monkeypatch, tmp_path, frame, CURVE, "40 planned: 32 ok, 8 missing")
    assert found[0].splitlines() == [
        "40 planned: 32 ok, 8 missing",
        "1 of 32 ok rows without a finite value, not drawn",
        "points: mean over seeds; band: ±1 sd",
    ]


def test_no_row_to_draw_is_an_error(tmp_path):
    frame = sweep()
    frame["status"] = "failed"
    with pytest.raises(InvalidValueError, match=r"at least one ok row .* got none of 32 rows. Run"):
        draw(frame, spec_of(frame, **CURVE), tmp_path / "a")
    frame["status"] = "ok"
    frame["edge"] = float("nan")
    with pytest.raises(InvalidValueError, match=r"none of 32 rows \(32 of 32 ok rows without"):
        draw(frame, spec_of(frame, **HEATMAP), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_text_axis_is_refused(tmp_path):
    frame = sweep()
    with pytest.raises(InvalidValueError, match=r"curve_edge\.x must be a number"):
        draw(frame, spec_of(frame, kind="curve", x="status", y="edge"), tmp_path / "a")


def test_bad_tex_is_refused_in_one_sentence(tmp_path):
    frame = sweep()
    spec = spec_of(frame, **CURVE, xlabel=r"$\nosuchsymbol$")
    with pytest.raises(InvalidValueError, match="curve_edge cannot be drawn"):
        draw(frame, spec, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_column_the_frame_lacks_is_named(tmp_path):
    frame = sweep()
    spec = spec_of(frame, **CURVE)
    with pytest.raises(UnknownNameError, match="Unknown column 'edge'"):
        draw(frame.drop(columns="edge"), spec, tmp_path / "a")


def test_drawing_imports_no_pyplot_and_leaves_no_global_state(tmp_path):
    frame = Path(tmp_path / "f.csv")
    sweep(backend="numpy").to_csv(frame)
    code = (
        "import sys, matplotlib, pandas as pd\nfrom pathlib import Path\n"
        "from lawsweep.analysis.figures.draw import draw\n"
        "from lawsweep.analysis.figures.kinds import parse_figures\n"
        # Reading the backend would choose one, and import pyplot to do so.
        "def state():\n"
        "    keys = set(matplotlib.rcParams) - {'backend', 'backend_fallback'}\n"
        "    return {key: matplotlib.rcParams[key] for key in keys}\n"
        f"f = pd.read_csv({str(frame)!r})\nbefore = state()\n"
        f"for s in parse_figures([{CURVE!r}, {HEATMAP!r}], list(f.columns)):\n"
        f"    draw(f, s, Path({str(tmp_path)!r}) / s.name)\n"
        "print('matplotlib.pyplot' in sys.modules, state() == before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "False True"
