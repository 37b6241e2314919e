"use strict";
(() => {
  const root = document.documentElement;
  const dark = () => root.dataset.theme
    ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const css = name => getComputedStyle(root).getPropertyValue(name).trim();
  const charts = new Map();  // id of a figure -> its state: data, log switches, view

  // A colour that is read on the dark page: mixed with white.
  const pale = hex => "#" + [1, 3, 5].map(i => {
    const c = parseInt(hex.slice(i, i + 2), 16);
    return Math.round(c + (255 - c) * 0.38).toString(16).padStart(2, "0");
  }).join("");

  function rowsOf(data, show) {
    const m = data.marks;
    return m.x.map((x, i) => {
      const row = { i, x, y: m.y[i], group: data.groups[m.g[i]], n: m.n[i] };
      if (m.lo[i] !== null) { row.lo = m.lo[i]; row.hi = m.hi[i]; }
      row.seeds = m.seeds[i] === null ? `${m.n[i]} rows`
        : `${m.seeds[i]}${m.n[i] > m.seeds[i] ? ` (${m.n[i]} rows)` : ""}`;
      row.runs = m.runs[i].join(", ") + (m.n[i] > m.runs[i].length ? ", …" : "");
      row.command = m.runs[i].length ? `${show} ${m.runs[i][0]}` : "";
      return row;
    });
  }

  function spec(state) {
    const d = state.data, narrow = state.box.clientWidth < 560;
    const axis = (title, log) => ({
      title, type: "quantitative",
      scale: { type: log ? "log" : "linear", ...(log ? {} : { zero: false }), nice: false, padding: 12 },
      axis: { tickCount: narrow ? 5 : 8, labelOverlap: true },
    });
    const usable = (v, log) => v !== null && v !== undefined && (!log || v > 0);
    const ok = (r, ys) => usable(r.x, state.logx) && ys.every(k => usable(r[k], state.logy));
    const x = { field: "x", ...axis(d.x, state.logx) }, y = { field: "y", ...axis(d.y, state.logy) };
    const range = dark() ? d.colours.map(pale) : d.colours, many = d.groups.length > 14;
    const legend = many || (d.groups.length === 1 && d.groups[0] === "data") ? null : {
      title: d.by || null, orient: narrow ? "bottom" : "right", columns: narrow ? 1 : undefined,
      labelLimit: narrow ? 260 : 220, symbolOpacity: 1 };
    const color = { field: "group", type: "nominal", scale: { domain: d.groups, range }, legend };
    const shape = { field: "group", type: "nominal", legend, scale: { domain: d.groups, range: d.shapes } };
    const strokeDash = { field: "group", type: "nominal", legend,
      scale: { domain: d.groups, range: d.dashes } };
    const faint = { condition: { param: "pick", value: 1 }, value: 0.15 };
    const rows = state.rows.filter(r => ok(r, ["y"]));
    const along = (e, extra) => e.x.map((v, i) => ({ x: v, y: e.y[i], lo: e.lo && e.lo[i],
      hi: e.hi && e.hi[i], group: d.groups[e.g], ...extra }));
    const law = d.laws.flatMap(e => along(e)).filter(r => ok(r, ["y"]));
    const band = law.filter(r => ok(r, ["lo", "hi"]));
    const lines = d.lines.flatMap((e, i) => along(e, { line: i, label: e.label })).filter(r => ok(r, ["y"]));
    const layer = [];
    if (band.length) layer.push({ data: { values: band }, mark: { type: "area", clip: true },
      encoding: { x, y: { ...y, field: "lo" }, y2: { field: "hi" }, color, opacity: { value: 0.16 } } });
    if (lines.length) layer.push({ data: { values: lines },
      mark: { type: "line", clip: true, strokeDash: [5, 4], strokeWidth: 1.3, color: css("--soft") },
      encoding: { x, y, detail: { field: "line" } } });
    if (law.length) layer.push({ data: { values: law }, mark: { type: "line", clip: true, strokeWidth: 1.8 },
      encoding: { x, y, color, strokeDash, detail: { field: "group" }, opacity: faint } });
    if (d.joined) layer.push({ data: { values: rows }, mark: { type: "line", clip: true, strokeWidth: 1.4 },
      encoding: { x, y, color, strokeDash, opacity: faint } });
    const bars = rows.filter(r => r.lo !== undefined).map(r =>
      ({ ...r, lo: usable(r.lo, state.logy) ? r.lo : r.y }));
    if (bars.length) layer.push({ data: { values: bars }, mark: { type: "rule", clip: true, strokeWidth: 1.2 },
      encoding: { x, y: { ...y, field: "lo" }, y2: { field: "hi" }, color, opacity: faint } });
    const told = [["x", d.x], ["y", d.y], ...(bars.length ? [["lo", "band from"], ["hi", "to"]] : []),
      ...(legend || many ? [["group", d.by || "group"]] : []), ["seeds", "seeds"], ["runs", "run"],
      ["command", "command"]];
    const numbers = new Set(["x", "y", "lo", "hi"]);
    layer.push({ data: { values: rows },
      params: [
        { name: "zoom", bind: "scales", select: { type: "interval", encodings: ["x", "y"],
          zoom: "wheel![event.shiftKey || event.ctrlKey || event.metaKey]", clear: "dblclick" },
          ...(state.extent ? { value: state.extent } : {}) },
        { name: "pick", select: { type: "point", fields: ["group"] }, ...(legend ? { bind: "legend" } : {}) }],
      mark: { type: "point", filled: true, size: rows.length > 500 ? 22 : 62, clip: true,
        stroke: css("--card"), strokeWidth: 0.7, cursor: "pointer" },
      encoding: { x, y, color, shape, opacity: faint,
        tooltip: told.map(([field, title]) => ({ field, title,
          ...(numbers.has(field) ? { type: "quantitative", format: ".5~g" } : { type: "nominal" }) })) } });
    const ink = css("--ink"), soft = css("--soft");
    return { width: "container", height: narrow ? 300 : 380, autosize: { type: "fit-x", contains: "padding" },
      background: null, layer, description: state.box.getAttribute("aria-label"),
      config: { font: "system-ui, sans-serif", view: { stroke: null }, aria: true,
        axis: { labelColor: ink, titleColor: ink, domainColor: soft, tickColor: soft, gridColor: css("--line"),
          gridOpacity: 0.7, labelFontSize: 12, titleFontSize: 13, titleFontWeight: 500, titlePadding: 8,
          numberFormat: ".4~g" },
        legend: { labelColor: ink, titleColor: soft, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500 } } };
  }

  async function draw(state) {
    if (state.view) state.view.finalize();
    const made = await window.vegaEmbed(state.box, spec(state), {
      renderer: "svg", actions: false, ast: true, tooltip: { theme: "lawsweep" } });
    state.view = made.view;
    state.view.addEventListener("click", (_, item) => {
      if (item && item.datum && item.datum.i !== undefined) pick(state, item.datum.i);
    });
    const still = state.figure.querySelector("img.still");
    if (still) still.hidden = true;
    state.box.dataset.drawn = String(Number(state.box.dataset.drawn || 0) + 1);
  }

  const extentOf = state => {
    const found = {};
    for (const k of ["x", "y"]) {
      let v; try { v = state.view.signal(`zoom_${k}`); } catch { v = undefined; }
      if (v) found[k] = Array.from(v);
    }
    return found.x && found.y ? found : null;
  };

  function zoom(state, factor) {
    const grow = (name, log) => {
      let [a, b] = state.view.scale(name).domain();
      if (log) { a = Math.log(a); b = Math.log(b); }
      const mid = (a + b) / 2, half = (b - a) / 2 * factor;
      return log ? [Math.exp(mid - half), Math.exp(mid + half)] : [mid - half, mid + half];
    };
    state.extent = { x: grow("x", state.logx), y: grow("y", state.logy) };
    draw(state);
  }

  function pick(state, i) {
    const r = state.rows[i], d = state.data, g = v => Number(v.toPrecision(5));
    state.at = i;
    const out = state.figure.querySelector(".picked");
    out.textContent = `${d.x} = ${g(r.x)}, ${d.y} = ${g(r.y)}` + (d.groups.length > 1 ? `, ${r.group}` : "")
      + `; seeds: ${r.seeds}; run ${r.runs || "?"} `;
    if (r.command) {
      const code = document.createElement("code");
      code.textContent = r.command;
      const copy = document.createElement("button");
      copy.type = "button"; copy.textContent = "Copy command"; copy.dataset.copy = r.command;
      out.append(code, " ", copy);
    }
  }

  function save(name, text, type) {
    const a = document.createElement("a");
    a.href = type ? URL.createObjectURL(new Blob([text], { type })) : text;
    a.download = name;
    a.click();
    if (type) setTimeout(() => URL.revokeObjectURL(a.href), 1000);
  }

  function csvOf(state) {
    const cell = v => v === null || v === undefined ? "" : /[",\n]/.test(v) ? `"${String(v).replaceAll('"', '""')}"` : v;
    const head = [state.data.x, state.data.y, "low", "high", "group", "rows", "seeds", "runs"];
    const m = state.data.marks;
    return [head, ...state.rows.map((r, i) => [r.x, r.y, r.lo, r.hi, r.group, m.n[i], m.seeds[i], m.runs[i].join(" ")])]
      .map(row => row.map(cell).join(",")).join("\n") + "\n";
  }

  const acts = {
    logx: s => { s.logx = !s.logx; s.extent = null; },
    logy: s => { s.logy = !s.logy; s.extent = null; },
    reset: s => { s.extent = null; },
  };

  function begin(figure, before) {
    const box = figure.querySelector(".chart"), data = JSON.parse(figure.querySelector("script").textContent);
    const state = { figure, box, data, logx: data.logx, logy: data.logy, extent: null, at: -1, ...before };
    Object.assign(state, { figure, box, data, view: null, rows: rowsOf(data, figure.dataset.show) });
    charts.set(figure.id, state);
    const tools = figure.querySelector(".tools");
    const positive = k => data.marks[k].every(v => v > 0);
    for (const [key, k] of [["logx", "x"], ["logy", "y"]]) {
      const button = tools.querySelector(`[data-act=${key}]`);
      button.setAttribute("aria-pressed", state[key]);
      if (!positive(k)) { button.disabled = true; button.title = `some ${k} are not positive`; }
    }
    tools.hidden = false;
    box.hidden = false;
    tools.addEventListener("click", async event => {
      const act = event.target.dataset && event.target.dataset.act;
      if (!act) return;
      if (act === "in") zoom(state, 0.6);
      else if (act === "out") zoom(state, 1 / 0.6);
      else if (act === "csv") save(`${data.name}.csv`, csvOf(state), "text/csv");
      else if (act === "svg") save(`${data.name}.svg`, await state.view.toSVG(), "image/svg+xml");
      else if (act === "png") save(`${data.name}.png`, await state.view.toImageURL("png", 2));
      else {
        acts[act](state);
        for (const key of ["logx", "logy"]) tools.querySelector(`[data-act=${key}]`).setAttribute("aria-pressed", state[key]);
        await draw(state);
      }
    });
    box.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      pick(state, (state.at + step + state.rows.length) % state.rows.length);
    });
    return draw(state).catch(error => {  // the others stand, and this one has its picture
      box.hidden = true;
      tools.hidden = true;
      figure.querySelector(".picked").textContent = `This chart cannot be drawn (${error.message}).`;
    });
  }

  async function all(scope) {
    if (!window.vegaEmbed) return;
    for (const figure of scope.querySelectorAll("figure[data-show]")) await begin(figure);
  }

  document.addEventListener("click", async event => {
    const button = event.target.closest && event.target.closest("button[data-copy], button[data-from]");
    if (!button) return;
    const text = button.dataset.copy || document.getElementById(button.dataset.from).textContent;
    try { await navigator.clipboard.writeText(text); }
    catch {  // a file on an old browser: by way of a selection
      const area = document.createElement("textarea");
      area.value = text; document.body.append(area); area.select();
      document.execCommand("copy"); area.remove(); button.focus();
    }
    const said = button.textContent;
    if (said !== "Copied") { button.textContent = "Copied"; setTimeout(() => { button.textContent = said; }, 1500); }
  });

  const theme = document.getElementById("theme");
  const name = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  theme.hidden = false;
  name();
  const redraw = () => { name(); for (const s of charts.values()) { s.extent = extentOf(s) || s.extent; draw(s); } };
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("lawsweep-theme", root.dataset.theme); } catch { /* a file may keep nothing */ }
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (!root.dataset.theme) redraw(); });

  async function news(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const open = new Set([...document.querySelectorAll("details[open]")].map(d => d.id).filter(Boolean));
    for (const part of fresh.querySelectorAll("[data-hash]")) {
      const old = document.getElementById(part.id);
      if (old && old.dataset.hash === part.dataset.hash) continue;
      part.querySelectorAll("details").forEach(d => { if (open.has(d.id)) d.open = true; });
      const states = new Map();
      for (const [id, s] of charts) if (old && old.contains(s.figure)) {
        states.set(id, { logx: s.logx, logy: s.logy, at: s.at, extent: extentOf(s) || s.extent });
        s.view.finalize(); charts.delete(id);
      }
      const y = scrollY;
      if (old) old.replaceWith(part); else document.querySelector("main").append(part);
      for (const f of part.querySelectorAll("figure[data-show]")) await begin(f, states.get(f.id));
      scrollTo(0, y);
    }
  }

  async function follow() {
    const live = document.getElementById("live");
    let stamp = root.dataset.stamp;
    for (;;) {
      await new Promise(done => setTimeout(done, Number(root.dataset.every)));
      try {
        const state = await (await fetch("state.json", { cache: "no-store" })).json();
        live.textContent = state.line;
        if (state.stamp !== stamp) {
          const page = await fetch("page.html", { cache: "no-store" });
          await news(await page.text());
          stamp = state.stamp;
          root.dataset.stamp = stamp;
        }
      } catch { live.textContent = "lawsweep watch has ended; the page shows what it saw last"; }
    }
  }

  all(document).then(() => { root.dataset.ready = "1"; if (root.dataset.every) follow(); });
})();
