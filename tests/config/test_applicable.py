"""What an override makes inapplicable is left out with a note; what is misspelt is refused."""

from __future__ import annotations

import json

import pytest

import lawsweep
from lawsweep.config import compose
from lawsweep.config.applicable import applicable
from lawsweep.config.axes_of import axes_of, names_of
from lawsweep.config.compose import load_sweep
from lawsweep.config.files import data_folder
from lawsweep.config.overrides import Override
from lawsweep.core.errors import InvalidValueError, LawsweepError, UnknownNameError
from lawsweep.grid.sweep import Sweep


def overridden(sweep, override):
    """As ``load_sweep`` does it, without composing anew."""
    fields = {s.name: s for s in sweep.find_experiment().params}
    config, notes = compose.with_overrides(sweep.config, [override], fields)
    made = Sweep.from_mapping(sweep.name, config, (override.text,))
    return applicable(made, names_of(sweep.config)), notes


def shipped():
    names = sorted(p.stem for p in data_folder("sweeps").glob("*.yaml"))
    assert len(names) > 15
    return names


@pytest.mark.parametrize("name", shipped())
def test_every_param_of_every_shipped_sweep_can_be_pinned_and_every_axis_removed(folder, name):
    sweep = load_sweep(name, "seeds=1")  # a plan has an id a run
    plan = lawsweep.open(sweep).plan
    for spec in plan.experiment.params:
        if spec.name not in plan.params and not spec.has_default:
            continue
        column = plan.params.get(spec.name)
        value = spec.default if column is None else column[:1].tolist()[0]
        pinned, _ = overridden(
            sweep, Override(f"params.{spec.name}=...", ("params", spec.name), value)
        )
        again = lawsweep.open(pinned).plan
        assert set(again.over_points()[spec.name].ravel().tolist()) == {value}
        n_before, n_after = len(sweep.fits + sweep.figures), len(pinned.fits + pinned.figures)
        search_gone = sweep.search is not None and pinned.search is None
        assert len(pinned.notes) == n_before - n_after + search_gone
    needed = {s.name for s in plan.experiment.params if not s.has_default}
    for axis in axes_of(sweep.config).names:
        if axis in plan.extra:
            continue  # what is derived from it has no value without
        removal = Override(f"~axes.{axis}", ("axes", axis), None, is_delete=True)
        if axis in needed:
            with pytest.raises(InvalidValueError, match=f"needs a value for {axis}"):
                lawsweep.open(overridden(sweep, removal)[0])
        else:
            lawsweep.open(overridden(sweep, removal)[0])


def presets():
    import yaml

    found = []
    for name in shipped():
        text = (data_folder("sweeps") / f"{name}.yaml").read_text(encoding="utf-8")
        found += [(name, preset) for preset in yaml.safe_load(text).get("presets") or {}]
    return found


@pytest.mark.parametrize(("name", "preset"), presets())
def test_every_axis_of_every_preset_can_be_pinned(folder, name, preset):
    sweep = load_sweep(name, f"preset={preset}")
    plan = lawsweep.open(sweep).plan
    for given in (*axes_of(sweep.config).names, *sweep.derive):
        value = {**plan.params, **plan.extra}[given][:1].tolist()[0]
        lawsweep.open(overridden(sweep, Override("...", ("params", given), value))[0])


def test_a_fit_about_an_axis_that_is_gone_is_left_out():
    gone = ("params.n_target=200", "params.n_compressed=5", "params.input_dim=5")
    sweep = load_sweep("compression_gap", *gone)
    told = "fits[1] (slope_small_N) is left out: it reads ratio, which the overrides took away"
    assert told in sweep.notes
    assert sum("is left out" in note for note in sweep.notes) == 2
    names = [f.get("name") for f in sweep.fits]
    assert "gap_jointly" in names
    assert not {"slope_small_N", "slope_large_N"} & set(names)
    assert len(names) == len(load_sweep("compression_gap").fits) - 2


TOYS = """
    experiment: toys:toy
    axes: {ratio: [1, 2], scale: [1, 2, 3]}
    derive: {n: round(10 * ratio)}
    executor: serial
    fits:
      - {law: power, x: scale, y: y}
      - {law: power, x: scale, y: y, by: ratio, name: by_ratio}
      - {law: power, x: scale, y: y, where: scale > 1, name: wide}
    figures:
      - {kind: curve, x: ratio, y: y, name: by_ratio, formats: [png]}
      - {kind: scatter, x: scale, y: y, lines: [{y: ratio * scale}], name: lined, formats: [png]}
      - {kind: curve, x: scale, y: y, where: n == 20, name: at_20, formats: [png]}
"""


def test_every_verb_leaves_it_out_and_says_so(write, lawsweep):
    write("toyed", TOYS)
    words = ("toyed", "params.n=20")
    note = "note: fits[1] (by_ratio) is left out: it reads ratio, which the overrides took away"
    for verb in ("plan", "run", "status", "fit", "plot", "report", "export"):
        code, _, err = lawsweep(verb, *words)
        assert code == 0, (verb, err)
        assert note in err, verb
        assert err.count("is left out") == 3
    _, out, _ = lawsweep("plan", *words, "--json")
    assert sum("is left out" in text for text in json.loads(out)["notes"]) == 3
    frozen = load_sweep(str(load_sweep(*words).folder / "sweep.yaml"))
    assert [f.get("name") for f in frozen.fits] == [None, "wide"]
    assert [f["name"] for f in frozen.figures] == ["at_20"]


@pytest.mark.parametrize(
    ("overrides", "fits", "figures", "said"),
    [
        (["seeds=3"], ["fit", "by_ratio", "wide"], ["by_ratio", "lined", "at_20"], ""),
        (["params.n=5"], ["fit", "wide"], [], "fits[1] (by_ratio) is left out: it reads ratio"),
        (["params.n=20"], ["fit", "wide"], ["at_20"], "figures[1] (lined) is left out: it reads"),
        (["params.scale=1"], ["fit", "by_ratio"], ["by_ratio", "lined", "at_20"],
         "wide.where (scale > 1) leaves none of 2 points"),
        (["params.ratio=1"], ["fit", "by_ratio", "wide"], ["by_ratio", "lined"],
         "at_20.where (n == 20) leaves none of 3 points"),
    ],
)  # fmt: skip
def test_what_does_not_apply_any_more_is_left_out(write, overrides, fits, figures, said):
    write("toyed", TOYS)
    sweep = load_sweep("toyed", *overrides)
    assert [f.get("name", "fit") for f in sweep.fits] == fits
    assert [f["name"] for f in sweep.figures] == figures
    assert said in " ".join(sweep.notes)
    assert bool(sweep.notes) == bool(said)
    lawsweep.open(sweep)


def test_a_preset_may_take_an_axis_away(write):
    write("toyed", TOYS + "    presets: {p: {params: {n: 5}}, q: {params: {n: 5}, fits: []}}\n")
    assert len(load_sweep("toyed", "preset=p").fits) == 2
    assert load_sweep("toyed", "preset=q").notes[0].startswith("figures[0]")


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("by: ratio", "by: ratoi", UnknownNameError, "Unknown column 'ratoi' in fits.1..by"),
        ("y: ratio * scale", "y: ratoi", UnknownNameError, "Unknown column 'ratoi'"),
        ("law: power, x: scale, y: y}", "law: powr, x: scale, y: y}", UnknownNameError, "powr"),
        ("where: scale > 1", "where: y", InvalidValueError, "needs true or false"),
        ("where: scale > 1", "where: sqrt(3 - y)", InvalidValueError, "needs true or false"),
    ],
)
def test_a_slip_in_the_file_is_refused_under_overrides_too(write, old, new, error, message):
    assert old in TOYS
    write("toyed", TOYS.replace(old, new))
    for overrides in ([], ["params.n=5"], ["params.scale=1"]):
        with pytest.raises(error, match=message):
            lawsweep.open(load_sweep("toyed", *overrides))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("where: scale > 9", r"wide\.where \(scale > 9\) leaves none of 6 points"),
        ("where: seed > 3", r"leaves none of 6 points"),
        ("where: 3 // (ratio - 1) > 0", "division by zero"),
        ("where: n**30 > 1", "exceeds 64 bits"),
    ],
)
def test_a_fit_that_no_point_can_give_is_refused_while_planning(write, change, message):
    write("toyed", TOYS.replace("where: scale > 1", change))
    with pytest.raises(InvalidValueError, match=message):
        lawsweep.open(load_sweep("toyed"))
    for x in ("scale // (ratio - 1)", "n**30", "scale / (0 * scale)"):
        write("toyed", TOYS.replace("x: ratio", f"x: {x}"))
        with pytest.raises(InvalidValueError, match=r"by_ratio\.x"):
            lawsweep.open(load_sweep("toyed"))


def test_one_fit_or_figure_that_cannot_be_computed_costs_the_others_nothing(
    lawsweep, write, folder
):
    bad = "{law: linear, x: scale, y: y // (draws - draws), name: bad}"
    none = "{law: linear, x: scale, y: y, where: y > 1e9, name: none}"
    figure = "{kind: curve, x: scale, y: draws**40, name: bad}"
    text = TOYS.replace("fits:", f"fits:\n      - {bad}\n      - {none}")
    write("toyed", text.replace("figures:", f"figures:\n      - {figure}"))
    code, out, err = lawsweep("run", "toyed", "--json")
    assert code == 0
    found = json.loads(out)
    reasons = [f["reason"] for f in found["fits"]]
    assert "division by zero" in reasons[0]
    assert "its where (y > 1e9) leaves no row" in reasons[1]
    assert reasons[2:] == [None, None, None, "2 distinct points, 3 needed for an interval"]
    assert "exceeds 64 bits" in err
    assert len(found["figures"]) == 3
    code, out, _ = lawsweep("fit", "toyed")
    assert code == 0
    assert "no fit of y // (draws - draws) against scale: " in out
    code, _, err = lawsweep("report", "toyed")
    page = (folder / "results/sweeps/toyed/report.html").read_text()
    assert "no fit of y // (draws - draws)" in page
    assert page.count('<img class="still"') == 3


def test_a_group_that_cannot_be_computed_costs_the_others_nothing(write):
    write("toyed", TOYS.replace("y: y, by: ratio", "y: y * (40 // (draws - 10)), by: ratio"))
    sweep = load_sweep("toyed")
    lawsweep.run(sweep)
    first, second = [f for f in lawsweep.fit(sweep) if f.spec.name == "by_ratio"]
    assert "division by zero" in first.reason
    assert second.parameters


SEARCH = """
    experiment: toys:toy
    axes: {n: [1, 2, 3, 4], scale: [1, 2]}
    executor: serial
    search: {axis: n, event: y < 2}
    fits: [{law: power, x: scale, y: n_star}]
    figures: [{kind: threshold, x: scale}, {kind: curve, x: scale, y: y}]
"""


def test_a_search_along_an_axis_that_is_gone_is_left_out(write):
    write("sought", SEARCH)
    sweep = load_sweep("sought", "params.n=3")
    assert (sweep.search, sweep.fits, len(sweep.figures)) == (None, (), 1)
    assert sweep.notes[0].startswith("the search is left out, and the whole grid is meant: ")
    assert len(lawsweep.open(sweep).plan) == 2
    assert sweep.config["search"] is None
    for event in ("yy < 2", "y", "n < 2"):
        write("sought", SEARCH.replace("event: y < 2", f"event: {event}"))
        with pytest.raises(LawsweepError):
            lawsweep.open(load_sweep("sought", "params.n=3"))


def test_an_axis_taken_out_of_a_zip_is_told(write):
    write("zipped", "experiment: toys:toy\naxes: {zip: {n: [1, 2], scale: [3, 4]}}\n")
    sweep = load_sweep("zipped", "params.n=5,6")
    assert sweep.notes == (
        "n advanced with scale; each of its new values is combined with each of theirs",
    )
    assert len(sweep.plan()) == 4
    assert load_sweep("zipped", "params.n=5").notes == ()
