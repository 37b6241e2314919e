"""Colours of groups are told apart by who sees fewer of them, and stand out on paper and at night.

Simulation: Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of
color vision deficiency", IEEE TVCG 15(6), table 1, severity 1.0, applied to linear sRGB.
Differences are CIE 1976 (ΔE*ab, D65); contrast is that of WCAG 2.2.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

import lawsweep.analysis.report
from lawsweep.analysis.figures.look import colour, shade
from lawsweep.analysis.figures.palette import NIGHT, PALETTE, night

SEEN = {
    "all": np.eye(3),
    "protanopia": np.array([
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip
XYZ = np.array([
    [0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
JUST_SEEN = 2.3  # ΔE*ab that is just noticed side by side (Mahy et al. 1994)


def linear(ink):
    values = np.array([int(ink[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    xyz = XYZ @ np.clip(rgb, 0, 1) / (XYZ @ np.ones(3))
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def difference(a, b, sight):
    return float(np.linalg.norm(lab(SEEN[sight] @ linear(a)) - lab(SEEN[sight] @ linear(b))))


def contrast(a, b):
    low, high = sorted(float(XYZ[1] @ linear(ink)) for ink in (a, b))
    return (high + 0.05) / (low + 0.05)


def backgrounds():
    css = (Path(lawsweep.analysis.report.__file__).parent / "page.css").read_text("utf-8")
    light, dark = re.findall(r"--card: (#[0-9a-f]{6})", css)[:2]
    return light, dark


def test_the_measures_are_those_of_the_books():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    np.testing.assert_allclose(lab(linear("#ffffff")), [100, 0, 0], atol=0.02)
    np.testing.assert_allclose(lab(linear("#ff0000")), [53.24, 80.09, 67.20], atol=0.05)
    for matrix in SEEN.values():  # white is seen as white
        np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=2e-6)


@pytest.mark.parametrize("sight", SEEN)
@pytest.mark.parametrize("palette", [PALETTE, NIGHT], ids=["light", "dark"])
def test_any_two_colours_of_a_palette_differ_for_everybody(sight, palette):
    for a, b in itertools.combinations(palette, 2):
        assert difference(a, b, sight) > 10 * JUST_SEEN, (a, b)


@pytest.mark.parametrize("sight", SEEN)
def test_a_sequence_gets_lighter_for_everybody(sight):
    lightness = [lab(SEEN[sight] @ linear(shade(k / 20)))[0] for k in range(21)]
    assert np.all(np.diff(lightness) > 0)
    steps = [difference(shade(k / 11), shade((k + 1) / 11), sight) for k in range(11)]
    assert min(steps) > JUST_SEEN  # twelve curves of a joint law
    dark = [night(shade(k / 11)) for k in range(12)]
    assert min(difference(a, b, sight) for a, b in itertools.pairwise(dark)) > JUST_SEEN


def test_every_colour_stands_out_from_its_ground():
    """3 to 1, as graphics should (WCAG 2.2, 1.4.11); the ends of a sequence 2 to 1."""
    light, dark = backgrounds()
    for n, least in ((len(PALETTE), 3), (12, 2)):
        inks = [colour(k, n) for k in range(n)]
        assert min(contrast(c, light) for c in inks) >= least
        assert min(contrast(night(c), dark) for c in inks) >= least
