"""The page as Chromium shows it: charts, zoom, hover, keyboard, a phone, light and dark."""

from __future__ import annotations

import pytest
from browser import needs_chromium, open_browser, requests, visit, wait
from report_pages import HOSTILE, chart_of, facts, rows

from lawsweep.analysis.report.facts import Drawing
from lawsweep.analysis.report.page import render

pytestmark = needs_chromium
SYMBOLS = "[...document.querySelectorAll('.chart svg .mark-symbol.role-mark path')]"
TICKS = "[...document.querySelectorAll('.chart svg .role-axis-label text')].map(t => t.textContent)"
# Relative luminance and contrast: WCAG 2.2, "relative luminance" and "contrast ratio".
CONTRAST = """
const paint = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgb = c => { paint.clearRect(0, 0, 1, 1); paint.fillStyle = c; paint.fillRect(0, 0, 1, 1);
  return [...paint.getImageData(0, 0, 1, 1).data]; };
const lum = c => c.slice(0, 3).map(v => v / 255)
  .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
const back = e => { for (let n = e; n; n = n.parentElement) {
  const c = rgb(getComputedStyle(n).backgroundColor); if (c[3] === 255) return c; }
  return [255, 255, 255, 255]; };
const bad = [];
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  if (!own || !e.getClientRects().length || e.closest('script') || e.disabled) continue;
  const style = getComputedStyle(e), ink = e instanceof SVGElement ? style.fill : style.color;
  const [a, b] = [lum(rgb(ink)), lum(back(e))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) bad.push(`${e.tagName} ${e.textContent.slice(0, 20)}: ${ratio.toFixed(2)}`);
}
return bad;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = open_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(facts()), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(autouse=True)
def page(browser, address):
    """The page, opened afresh in an ordinary window; nothing of it may complain or ask."""
    for command in ("Emulation.clearDeviceMetricsOverride", "Emulation.setEmulatedMedia"):
        browser.execute_cdp_cmd(command, {})
    browser.get("about:blank")
    browser.get_log("browser"), requests(browser)
    visit(browser, address)
    yield
    assert [e["message"] for e in browser.get_log("browser")] == []
    asked = requests(browser)
    assert address in asked
    assert [u for u in asked if not u.startswith(("file:", "data:", "blob:"))] == []


def click(browser, what):
    before = browser.execute_script("return document.querySelector('.chart').dataset.drawn")
    browser.execute_script(f"document.querySelector('{what}').click()")
    return before


def click_and_draw(browser, act):
    before = click(browser, f"[data-act={act}]")
    wait(browser, f"document.querySelector('.chart').dataset.drawn !== '{before}'")


def test_each_mean_is_a_mark_and_each_law_a_line(browser):
    assert len(browser.execute_script(f"return {SYMBOLS}")) == 10
    lines = "document.querySelectorAll('.chart svg .mark-line.role-mark path').length"
    assert browser.execute_script(f"return {lines}") == 2
    assert not browser.execute_script("return document.querySelector('.tools').hidden")


def test_the_axes_turn_from_logarithmic_to_linear_and_back(browser):
    assert "160" not in (before := browser.execute_script(f"return {TICKS}"))
    click_and_draw(browser, "logx")
    pressed = "document.querySelector('[data-act=logx]').getAttribute('aria-pressed')"
    assert browser.execute_script(f"return {pressed}") == "false"
    assert "60" in browser.execute_script(f"return {TICKS}")
    click_and_draw(browser, "logx")
    assert browser.execute_script(f"return {TICKS}") == before


def test_zoom_and_reset(browser):
    whole = browser.execute_script(f"return {TICKS}")
    click_and_draw(browser, "in")
    assert browser.execute_script(f"return {TICKS}") != whole
    click_and_draw(browser, "reset")
    assert browser.execute_script(f"return {TICKS}") == whole


def test_a_point_tells_its_run_and_command_under_the_pointer_and_when_it_is_picked(browser):
    from selenium.webdriver.common.action_chains import ActionChains

    mark = browser.execute_script(f"return {SYMBOLS}.find(p => p.closest('.role-mark'))")
    ActionChains(browser).move_to_element(mark).perform()
    told = wait(browser, "document.querySelector('#vg-tooltip-element.visible')?.innerText")
    run = rows()["run_id"][0][:12]
    assert run in told
    assert f"lawsweep show {run}" in told
    assert "seeds" in told
    ActionChains(browser).click(mark).perform()
    assert f"lawsweep show {run}" in wait(
        browser, "document.querySelector('.picked').textContent.trim()"
    )


def test_the_keyboard_reaches_every_tool_and_every_point(browser):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    focused, seen = "document.activeElement", []
    for _ in range(60):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        who = browser.execute_script(f"return {focused}.dataset.act || {focused}.className")
        outline = browser.execute_script(f"return getComputedStyle({focused}).outlineStyle")
        assert outline != "none", who
        seen.append(who)
        if "chart" in who:
            break
    assert seen[-9:-1] == ["logx", "logy", "in", "out", "reset", "svg", "png", "csv"]
    ActionChains(browser).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT).perform()
    told = browser.execute_script("return document.querySelector('.picked').textContent")
    assert told.startswith("n 20 · y ")


def test_nothing_is_cut_off_on_a_phone(browser, address):
    size = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    visit(browser, address)
    wide = browser.execute_script(
        "return [...document.querySelectorAll('body *')]"
        ".filter(e => !e.closest('.scroll, svg, .skip') && e.getBoundingClientRect().right > 361)"
        ".map(e => e.tagName + e.className)"
    )
    assert wide == []
    assert browser.execute_script("return document.documentElement.scrollWidth") == 360
    texts = "[...document.querySelectorAll('.chart svg text')]"
    edge = f"Math.max(...{texts}.map(t => t.getBoundingClientRect().right))"
    assert browser.execute_script(f"return {edge}") <= 360


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(browser, address, theme):
    feature = {"name": "prefers-color-scheme", "value": theme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    visit(browser, address)
    for details in browser.find_elements("tag name", "details"):
        browser.execute_script("arguments[0].open = true", details)
    assert browser.execute_script(CONTRAST) == []
    back = "getComputedStyle(document.body).backgroundColor"
    before = browser.execute_script(f"return {back}")
    drawn = click(browser, "#theme")
    wait(browser, f"document.querySelector('.chart').dataset.drawn !== '{drawn}'")
    assert browser.execute_script(f"return {back}") != before
    assert browser.execute_script(CONTRAST) == []
    browser.execute_script("localStorage.clear()")


def test_figure_and_data_can_be_kept(browser):
    browser.execute_script(
        "window.kept = {}; HTMLAnchorElement.prototype.click = function () {"
        " fetchBlob(this.href).then(t => { window.kept[this.download] = t; }); };"
        "const made = URL.createObjectURL; const blobs = new Map();"
        "URL.createObjectURL = b => { const u = made(b); blobs.set(u, b); return u; };"
        "window.fetchBlob = u => blobs.has(u) ? blobs.get(u).text() : Promise.resolve(u);"
    )
    for act in ("svg", "csv", "png"):
        click(browser, f"[data-act={act}]")
    wait(browser, "Object.keys(window.kept).length === 3")
    kept = browser.execute_script("return window.kept")
    assert kept["curve_y.svg"].startswith("<svg")
    head, *lines = kept["curve_y.csv"].strip().splitlines()
    assert head == "n,y,low,high,group,rows,seeds,runs"
    assert len(lines) == 10
    assert kept["curve_y.png"].startswith("data:image/png;base64,")


def test_hostile_names_are_shown_and_not_run(browser, address, tmp_path):
    path = tmp_path / "hostile.html"
    entry = {"kind": "curve", "x": "n", "y": "y", "by": "kind", "xlabel": HOSTILE}
    path.write_text(render(facts(rows(kinds=(HOSTILE, "b")), entry, notes=[HOSTILE])), "utf-8")
    visit(browser, path.as_uri())
    assert browser.title == "made up"
    assert browser.execute_script("return document.querySelectorAll('img').length") == 0
    box = "document.querySelector('.chart')"
    key = "new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true })"
    browser.execute_script(f"{box}.dispatchEvent({key})")
    assert "onerror=" in browser.execute_script(
        "return document.querySelector('.picked').innerText"
    )
    assert browser.title == "made up"


def test_a_map_tells_its_cells_and_panels_share_their_tools(browser, tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains

    frame = rows()
    entries = (
        {"kind": "heatmap", "x": "n", "y": "seed", "z": "y", "logx": True},
        {"kind": "curve", "x": "n", "y": "y", "panel": "kind", "fit": "power"},
        {"kind": "residuals", "x": "n", "y": "y", "by": "kind"},
    )
    figures = [Drawing(str(k), chart_of(frame, e), None) for k, e in enumerate(entries)]
    path = tmp_path / "kinds.html"
    path.write_text(render(facts(frame, figures=figures)), encoding="utf-8")
    visit(browser, path.as_uri())
    charts = "[...document.querySelectorAll('figure')].map(f => f.querySelectorAll('svg').length)"
    assert browser.execute_script(f"return {charts}") == [1, 2, 1]
    cells = "[...document.querySelectorAll('#figure-0 .mark-rect.role-mark path')]"
    assert browser.execute_script(f"return {cells}.length") == 25
    ActionChains(browser).click(browser.execute_script(f"return {cells}[7]")).perform()
    told = wait(browser, "document.querySelector('#figure-0 .picked').textContent.trim()")
    assert "lawsweep show" in told
    assert told.startswith("n ")
    drawn = "[...document.querySelectorAll('#figure-1 .chart')].map(c => c.dataset.drawn).join()"
    click(browser, "#figure-1 [data-act=logy]")
    wait(browser, f"{drawn} === '2,2'")
