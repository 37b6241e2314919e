"use strict";
(() => {
  const root = document.documentElement;
  const dark = () => root.dataset.theme
    ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const css = name => getComputedStyle(root).getPropertyValue(name).trim();
  const charts = new Map();  // id of a figure -> its state: data, log switches, view

  // What is behind a mark or a cell: of how many seeds it is, its first runs, and what shows one.
  function behind(n, seeds, runs, show) {
    if (!n) return {};
    return { seeds: seeds === null ? `${n} rows` : `${seeds}${n > seeds ? ` (${n} rows)` : ""}`,
      runs: runs.join(", ") + (n > runs.length ? ", …" : ""),
      command: runs.length ? `${show} ${runs[0]}` : "" };
  }

  const middle = (a, b, log) => log ? Math.sqrt(a * b) : (a + b) / 2;

  // All that a pointer can rest on: marks, cells, lines of runs; `i` is the place among them.
  function rowsOf(d, show) {
    const m = d.marks, rows = [];
    m.x.forEach((x, j) => {
      const row = { x, y: m.y[j], p: m.p[j], g: m.g[j], group: d.groups[m.g[j]] || "", open: m.open[j], kind: "mark",
        n: m.n[j], ids: m.runs[j], nSeeds: m.seeds[j], ...behind(m.n[j], m.seeds[j], m.runs[j], show) };
      if (m.lo[j] !== null && m.hi[j] !== null) { row.lo = m.lo[j]; row.hi = m.hi[j]; }
      rows.push(row);
    });
    for (const c of d.cells) {
      const nx = c.x.length - 1;
      c.v.forEach((z, j) => {
        const a = j % nx, b = Math.floor(j / nx);
        rows.push({ x0: c.x[a], x1: c.x[a + 1], y0: c.y[b], y1: c.y[b + 1], z, p: c.p, kind: "cell", group: "",
          x: middle(c.x[a], c.x[a + 1], d.logx), y: middle(c.y[b], c.y[b + 1], d.logy), text: c.texts ? c.texts[j] : "",
          n: c.n[j], ids: c.runs[j], nSeeds: c.seeds[j], ...behind(c.n[j], c.seeds[j], c.runs[j], show) });
      });
    }
    d.lines.forEach((e, line) => {
      if (e.role === "run") e.x.forEach((x, j) => rows.push({ x, y: e.y[j], p: e.p, group: d.groups[e.g], line, kind: "run",
        n: 1, ids: [e.run], nSeeds: null, runs: e.run, command: `${show} ${e.run}` }));
    });
    return rows.map((row, i) => ({ ...row, i }));
  }

  const FACTS = { x: ".5~g", y: ".5~g", lo: ".5~g", hi: ".5~g", z: ".5~g" };
  function told(d, row) {
    const z = d.cells.length ? d.cells[0].z : "";
    const all = [["x", d.x], ["y", d.y], ["z", z], ["lo", d.band ? `${d.band}: from` : "from"], ["hi", "to"], ["group", d.by || "group"],
      ["seeds", "seeds"], ["runs", "run"], ["command", "command"]];
    return all.filter(([k]) => row[k] !== undefined && row[k] !== "" && row[k] !== null
      && !(k === "group" && d.groups.length < 2));
  }
  const tooltip = (d, row) => row ? told(d, row).map(([field, title]) => ({ field, title,
    ...(FACTS[field] ? { type: "quantitative", format: FACTS[field] } : { type: "nominal" }) })) : undefined;

  const usable = (v, log) => v !== null && v !== undefined && (!log || v > 0);

  // Least and largest value along an axis over all panels, so that they share their scales.
  function domain(state, k) {
    const d = state.data, fixed = d.ends[k === "x" ? 0 : 1], log = k === "x" ? state.logx : state.logy;
    if (fixed && (!log || fixed[0] > 0)) return fixed;
    let low = Infinity, high = -Infinity;
    const see = v => { if (usable(v, log)) { if (v < low) low = v; if (v > high) high = v; } };
    state.rows.forEach(r => { see(r[k]); if (k === "y") { see(r.lo); see(r.hi); } });
    d.lines.forEach(e => { if (e.role !== "reference" || !d.marks.x.length) e[k].forEach(see); });
    if (low > high) return undefined;
    if (low === high) return log ? [low / 1.2, high * 1.2] : [low - Math.abs(low) * 0.1 - 1e-9, high + Math.abs(high) * 0.1 + 1e-9];
    if (log) { const f = (high / low) ** 0.04; return [low / f, high * f]; }
    const half = (high - low) * 0.04;
    return [low - half, high + half];
  }

  function spec(state, panel) {
    const d = state.data, box = state.boxes[panel], narrow = box.clientWidth < 560;
    const many = d.groups.length > 14, single = d.groups.every(g => g === "data");
    const axis = (k, title, log) => ({
      title, type: "quantitative",
      scale: { type: log ? "log" : "linear", ...(log ? {} : { zero: false }), nice: false, domain: domain(state, k), reverse: k === "y" && d.down },
      axis: { tickCount: narrow ? 5 : 8, labelOverlap: true, grid: !d.cells.length,
        ...(d.ticks[k === "x" ? 0 : 1] ? { values: d.ticks[k === "x" ? 0 : 1] } : {}) },
    });
    const ok = (r, ys) => usable(r.x, state.logx) && ys.every(k => usable(r[k], state.logy));
    const x = { field: "x", ...axis("x", d.x, state.logx) }, y = { field: "y", ...axis("y", d.y, state.logy) };
    const inks = dark() ? d.night : d.colours, ink = css("--ink"), soft = css("--soft");
    const inkOf = g => g >= 0 ? inks[g] : soft;
    const namesOf = p => [...new Set(d.groups.filter((_, g) => d.of[g] === p))];
    const names = namesOf(panel), first = names.map(n => d.groups.findIndex((v, g) => v === n && d.of[g] === panel));
    const last = panel + 1 === d.panels.length, small = narrow || d.panels.length > 1;
    const same = !last && String(names) === String(namesOf(d.panels.length - 1));  // the last panel's legend tells
    const legend = many || single || d.cells.length || same ? null : {
      title: d.by || null, orient: small ? "bottom" : "right", columns: small ? 1 : undefined,
      labelLimit: small ? 260 : 300, symbolOpacity: 1 };
    const scale = range => ({ domain: names, range: first.map(k => range[k]) });
    const color = { field: "group", type: "nominal", legend, scale: scale(inks) };
    const shape = { field: "group", type: "nominal", legend, scale: scale(d.shapes) };
    const strokeDash = { field: "group", type: "nominal", legend, scale: scale(d.dashes) };
    const faint = { condition: { param: "pick", value: 1 }, value: 0.15 };
    const here = e => e.p === panel;
    const rows = state.rows.filter(r => here(r) && r.kind === "mark" && ok(r, ["y"]));
    const runs = state.rows.filter(r => here(r) && r.kind === "run" && ok(r, ["y"]));
    const cells = state.rows.filter(r => here(r) && r.kind === "cell" && usable(r.x0, state.logx) && usable(r.y0, state.logy));
    const along = (e, i) => e.x.map((v, j) => ({ x: v, y: e.y && e.y[j], lo: e.lo && e.lo[j], hi: e.hi && e.hi[j],
      group: d.groups[e.g], ink: e.role === "frontier" ? ink : inkOf(e.g), line: i, label: e.label, role: e.role }));
    const lines = d.lines.filter(e => here(e) && e.role !== "run");
    const path = roles => lines.flatMap((e, i) => roles.includes(e.role) ? along(e, i) : []).filter(r => ok(r, ["y"]));
    const law = path(["law"]), zero = path(["zero"]), reference = path(["reference", "frontier"]);
    const band = d.bands.filter(here).flatMap((e, i) => along(e, i)).filter(r => ok(r, ["lo", "hi"]));
    const under = [], over = [];  // references have dashes and legends of their own
    if (cells.length) {
      const c = d.cells[0], log = c.log, filled = cells.filter(r => r.z !== null && (!log || r.z > 0)), empty = cells.filter(r => r.z === null);
      const at = { x: { ...x, field: "x0" }, x2: { field: "x1" }, y: { ...y, field: "y0" }, y2: { field: "y1" } };
      if (empty.length) under.push({ data: { values: empty }, mark: { type: "rect", clip: true, fill: css("--tint"), stroke: css("--line"), strokeWidth: 0.5 },
        encoding: { ...at, tooltip: [{ field: "x", title: d.x, type: "quantitative", format: ".5~g" },
          { field: "y", title: d.y, type: "quantitative", format: ".5~g" }, ...(c.missing ? [{ value: c.missing }] : [])].filter(t => t.field) } });
      under.push({ data: { values: filled }, mark: { type: "rect", clip: true, strokeWidth: 0, cursor: "pointer" },
        encoding: { ...at, tooltip: tooltip(d, filled[0]),
          color: { field: "z", type: "quantitative", scale: { type: log ? "log" : "linear", scheme: "viridis", nice: false, ...(log ? {} : { zero: false }),
            ...(c.ends ? { domain: c.ends } : {}) },
            legend: last ? { title: c.z, orient: small ? "bottom" : "right",
              gradientLength: narrow ? 180 : 220, titleLimit: 240 } : null } } });
      if (cells.some(r => r.text)) {  // dark on light, light on dark
        const ends = c.ends || [Math.min(...filled.map(r => r.z)), Math.max(...filled.map(r => r.z))];
        const inked = cells.map(r => ({ ...r, ink: r.z === null ? ink : (r.z - ends[0]) / (ends[1] - ends[0]) > 0.55 ? "#000" : "#fff" }));
        under.push({ data: { values: inked }, mark: { type: "text", fontSize: cells.length > 40 ? 9 : 12, tooltip: null },
          encoding: { x, y, text: { field: "text" }, color: { field: "ink", type: "nominal", scale: null } } });
      }
    }
    if (zero.length) under.push({ data: { values: zero }, mark: { type: "rule", clip: true, stroke: soft }, encoding: { y } });
    if (reference.length) {
      const labels = [...new Set(reference.map(r => r.label).filter(Boolean))];
      const dashes = labels.map(l => { const e = lines.find(v => v.label === l); return e.role === "frontier" ? [1, 0] : e.dash; });
      const mark = { type: "line", clip: true, strokeWidth: d.cells.length || reference.some(r => r.role === "frontier") ? 2.2 : 1.5, ...(d.cells.length ? { stroke: "#000" } : {}) };
      if (d.cells.length) under.push({ data: { values: reference }, mark: { type: "line", clip: true, strokeWidth: 5, stroke: "#fff", opacity: 0.8 },
        encoding: { x, y, detail: { field: "line" } } });
      under.push({ data: { values: reference }, mark, encoding: { x, y, detail: { field: "line" },
        ...(d.cells.length ? {} : { stroke: { field: "ink", type: "nominal", scale: null } }),
        strokeDash: { field: "label", type: "nominal", scale: { domain: labels, range: dashes },
          legend: last ? { title: null, symbolStrokeColor: ink, symbolFillColor: "transparent", orient: small || d.cells.length ? "bottom" : "right",
            labelLimit: 260 } : null } } });
    }
    if (band.length) over.push({ data: { values: band }, mark: { type: "area", clip: true },
      encoding: { x, y: { ...y, field: "lo" }, y2: { field: "hi" }, fill: { field: "ink", type: "nominal", scale: null },
        detail: { field: "line" }, opacity: { value: 0.16 } } });
    if (law.length) over.push({ data: { values: law }, mark: { type: "line", clip: true, strokeWidth: 1.8 },
      encoding: { x, y, color, strokeDash, detail: { field: "line" }, opacity: faint } });
    if (d.joined) over.push({ data: { values: rows }, mark: { type: "line", clip: true, strokeWidth: 1.4 },
      encoding: { x, y, color, strokeDash, opacity: faint } });
    const bars = rows.filter(r => r.lo !== undefined).map(r =>
      ({ ...r, lo: usable(r.lo, state.logy) ? r.lo : r.y }));
    const onMap = d.cells.length > 0;
    if (bars.length && onMap) over.push({ data: { values: bars }, mark: { type: "rule", clip: true, strokeWidth: 4.5, stroke: "#000" },
      encoding: { x, y: { ...y, field: "lo" }, y2: { field: "hi" } } });
    if (bars.length) over.push({ data: { values: bars }, mark: { type: "rule", clip: true, strokeWidth: onMap ? 2 : 1.2, ...(onMap ? { stroke: "#fff" } : {}) },
      encoding: { x, y: { ...y, field: "lo" }, y2: { field: "hi" }, ...(onMap ? {} : { color, opacity: faint }) } });
    const zoom = { name: "zoom", bind: "scales", select: { type: "interval", encodings: ["x", "y"],
      zoom: "wheel![event.shiftKey || event.ctrlKey || event.metaKey]", clear: "dblclick" },
      ...(state.extent ? { value: state.extent } : {}) };
    const choose = { name: "pick", select: { type: "point", fields: ["group"] }, ...(legend ? { bind: "legend" } : {}) };
    if (runs.length) over.push({ data: { values: runs }, params: [zoom, choose], mark: { type: "line", clip: true, strokeWidth: 1.2, cursor: "pointer" },
      encoding: { x, y, color, detail: { field: "line" }, opacity: { condition: { param: "pick", value: runs.length > 2000 ? 0.5 : 0.8 }, value: 0.08 },
        tooltip: tooltip(d, runs[0]).filter(t => !["x", "y"].includes(t.field)) } });
    const size = rows.length > 500 ? 22 : 62;
    const filled = rows.filter(r => !r.open), hollow = rows.filter(r => r.open);
    const telling = filled.find(r => r.lo !== undefined) || filled[0];
    if (filled.length || !runs.length) over.push({ data: { values: filled }, params: runs.length ? [] : [zoom, ...(onMap ? [] : [choose])],
      mark: { type: "point", filled: true, size, clip: true, cursor: "pointer",
        ...(onMap ? { fill: "#fff", stroke: "#000", strokeWidth: 1.2 } : { stroke: css("--card"), strokeWidth: 0.7 }) },
      encoding: { x, y, ...(onMap ? {} : { color, shape, opacity: faint }), tooltip: tooltip(d, telling) } });
    if (hollow.length) over.push({ data: { values: hollow }, mark: { type: "point", filled: false, size: 80, clip: true, strokeWidth: 1.6, cursor: "pointer" },
      encoding: { x, y, color, shape: { field: "open", type: "nominal", scale: null }, opacity: faint, tooltip: tooltip(d, hollow[0]) } });
    const layer = under.length ? [{ layer: under, resolve: { scale: { color: "independent" } } }, { layer: over }] : over;
    const tall = d.square ? Math.min(box.clientWidth, 460) : narrow ? 300 : 380;
    return { width: d.square ? undefined : "container", ...(d.square ? { width: Math.max(200, Math.min(box.clientWidth - (narrow ? 70 : 190), 400)) } : {}),
      height: d.square ? Math.max(200, Math.min(box.clientWidth - (narrow ? 70 : 190), 400)) : tall,
      autosize: d.square ? { type: "pad", contains: "padding" } : { type: "fit-x", contains: "padding" },
      background: null, layer, description: box.getAttribute("aria-label"),
      ...(under.length ? { resolve: { scale: { color: "independent", strokeDash: "independent", stroke: "independent", shape: "independent" } } } : {}),
      ...(d.panels.length > 1 ? { title: { text: d.panels[panel], anchor: "start", fontSize: 13, fontWeight: 500, color: ink } } : {}),
      config: { font: "system-ui, sans-serif", view: { stroke: null }, aria: true,
        axis: { labelColor: ink, titleColor: ink, domainColor: soft, tickColor: soft, gridColor: css("--line"),
          gridOpacity: 0.7, labelFontSize: 12, titleFontSize: 13, titleFontWeight: 500, titlePadding: 8,
          numberFormat: ".4~g" },
        legend: { labelColor: ink, titleColor: soft, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500,
          gradientStrokeColor: "transparent" } } };
  }

  async function draw(state) {
    (state.views || []).forEach(v => v.finalize());
    state.views = [];
    const heavy = state.rows.filter(r => r.kind === "cell").length > 1500;
    for (let panel = 0; panel < state.boxes.length; panel++) {
      const made = await window.vegaEmbed(state.boxes[panel], spec(state, panel), {
        renderer: heavy ? "canvas" : "svg", actions: false, ast: true, tooltip: { theme: "lawsweep" } });
      state.views.push(made.view);
      made.view.addEventListener("click", (_, item) => {
        if (item && item.datum && item.datum.i !== undefined) pick(state, item.datum.i);
      });
    }
    const still = state.figure.querySelector("img.still");
    if (still) still.hidden = true;
    for (const box of state.boxes) box.dataset.drawn = String(Number(box.dataset.drawn || 0) + 1);
  }

  const extentOf = state => {
    const found = {};
    for (const k of ["x", "y"]) {
      let v; try { v = state.views[0].signal(`zoom_${k}`); } catch { v = undefined; }
      if (v) found[k] = Array.from(v);
    }
    return found.x && found.y ? found : null;
  };

  function zoom(state, factor) {
    const grow = (name, log) => {
      let [a, b] = state.views[0].scale(name).domain();
      if (log) { a = Math.log(a); b = Math.log(b); }
      const mid = (a + b) / 2, half = (b - a) / 2 * factor;
      return log ? [Math.exp(mid - half), Math.exp(mid + half)] : [mid - half, mid + half];
    };
    state.extent = { x: grow("x", state.logx), y: grow("y", state.logy) };
    draw(state);
  }

  function pick(state, i) {
    const r = state.rows[i], d = state.data, g = v => typeof v === "number" ? Number(v.toPrecision(5)) : v;
    state.at = i;
    const out = state.figure.querySelector(".picked");
    const panel = d.panels.length > 1 ? [d.panels[r.p]] : [];
    const missing = r.kind === "cell" && r.z === null ? ["no result"] : [];
    out.textContent = [...panel, ...told(d, r).filter(([k]) => k !== "command").map(([k, title]) => `${title} ${g(r[k])}`), ...missing].join(" · ") + " ";
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
    const d = state.data, has = k => state.rows.some(r => r[k] !== undefined);
    const cell = v => v === null || v === undefined ? "" : /[",\n]/.test(v) ? `"${String(v).replaceAll('"', '""')}"` : v;
    const columns = [...(d.panels.length > 1 ? [["panel", r => d.panels[r.p]]] : []), [d.x, r => r.x], [d.y, r => r.y],
      ...(d.cells.length ? [[d.cells[0].z, r => r.z]] : []),
      ...(has("lo") || !d.cells.length ? [["low", r => r.lo], ["high", r => r.hi]] : []),
      ...(d.cells.length ? [] : [["group", r => r.group]]), ["rows", r => r.n], ["seeds", r => r.nSeeds], ["runs", r => r.ids.join(" ")]];
    return [columns.map(([name]) => name), ...state.rows.map(r => columns.map(([, of]) => of(r)))]
      .map(row => row.map(cell).join(",")).join("\n") + "\n";
  }

  const acts = {
    logx: s => { s.logx = !s.logx; s.extent = null; },
    logy: s => { s.logy = !s.logy; s.extent = null; },
    reset: s => { s.extent = null; },
  };

  function begin(figure, before) {
    const boxes = [...figure.querySelectorAll(".chart")], data = JSON.parse(figure.querySelector("script").textContent);
    const state = { figure, boxes, data, logx: data.logx, logy: data.logy, extent: null, at: -1, ...before };
    Object.assign(state, { figure, boxes, data, views: [], rows: rowsOf(data, figure.dataset.show) });
    charts.set(figure.id, state);
    const tools = figure.querySelector(".tools");
    const lowest = { x: ["x", "x0"], y: ["y", "y0"] };
    for (const [key, k] of [["logx", "x"], ["logy", "y"]]) {
      const button = tools.querySelector(`[data-act=${key}]`);
      button.setAttribute("aria-pressed", state[key]);
      const bad = state.rows.some(r => lowest[k].some(f => r[f] !== undefined && r[f] !== null && r[f] <= 0));
      if (bad && !state[key]) { button.disabled = true; button.title = `some ${data[k]} are not positive`; }
    }
    tools.hidden = false;
    boxes.forEach(box => { box.hidden = false; });
    tools.addEventListener("click", async event => {
      const act = event.target.dataset && event.target.dataset.act;
      if (!act) return;
      if (act === "in") zoom(state, 0.6);
      else if (act === "out") zoom(state, 1 / 0.6);
      else if (act === "csv") save(`${data.name}.csv`, csvOf(state), "text/csv");
      else if (act === "svg" || act === "png") {
        for (let k = 0; k < state.views.length; k++) {
          const name = data.name + (state.views.length > 1 ? `-${k + 1}` : "");
          if (act === "svg") save(`${name}.svg`, await state.views[k].toSVG(), "image/svg+xml");
          else save(`${name}.png`, await state.views[k].toImageURL("png", 2));
        }
      } else {
        acts[act](state);
        for (const key of ["logx", "logy"]) tools.querySelector(`[data-act=${key}]`).setAttribute("aria-pressed", state[key]);
        await draw(state);
      }
    });
    for (const box of boxes) box.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step || !state.rows.length) return;
      event.preventDefault();
      pick(state, (state.at + step + state.rows.length) % state.rows.length);
    });
    return draw(state).catch(error => {  // the others stand, and this one has its picture
      boxes.forEach(box => { box.hidden = true; });
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
        s.views.forEach(v => v.finalize()); charts.delete(id);
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
