// SPDX-License-Identifier: GPL-2.0-or-later

"use strict";
/* The page of a run. Whatever comes from the run is put into text nodes and attributes of our
   own choice; no string is ever parsed as markup. */
(() => {
const CHUNK = 100;        // rows that are made at once; more as the reader comes near
const PRINTED = 1000;     // rows of a print
const DOWN = 60;          // rows and columns of the matrix
const ACROSS = 40;
const SIGNS = {FAIL: "✗", UNKNOWN: "?", UNFINISHED: "…", BROKEN: "‼", KNOWN: "≈", FIXED: "★",
               PASS: "✓"};
const SVG = "http://www.w3.org/2000/svg";

const byId = (id) => document.getElementById(id);
const index = JSON.parse(byId("index").textContent);
const worst = new Map(index.outcomes.map((outcome, place) => [outcome, place]));
const rows = index.rows.map(([id, outcome, by, why, known, longest, teardown, titles, slow],
  number) => ({
  number, id, outcome, by, why, known, longest, teardown, slow, place: worst.get(outcome),
  words: [id, outcome, by, why, known, slow, ...titles].join("\n").toLowerCase(),
}));
const ORDERS = {
  "worst first": (a, b) => a.place - b.place || a.number - b.number,
  "as they ran": (a, b) => a.number - b.number,
  "by name": (a, b) => (a.id < b.id ? -1 : 1),
  "longest command": (a, b) => (b.longest ?? -1) - (a.longest ?? -1),
  "longest teardown": (a, b) => (b.teardown ?? -1) - (a.teardown ?? -1),
};
const state = {query: "", outcomes: new Set(), down: "", across: "", cell: null,
               order: "worst first"};
let found = [];           // the rows that are listed
let made = 0;             // how many of them have elements

/* --- elements --- */

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  fill(made, attributes, children);
  return made;
}
function drawn(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  fill(made, attributes, children);
  return made;
}
function fill(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    made.append(child);   // a string becomes a text node
  }
}
function badge(outcome, words) {
  return element("span", {class: `o ${outcome}`, "data-sign": SIGNS[outcome] || ""},
                 words || outcome);
}
function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1) return `${value >= 100 ? value.toFixed(0) : value.toPrecision(3)} s`;
  if (value >= 1e-3) return `${(value * 1e3).toPrecision(3)} ms`;
  return `${(value * 1e6).toPrecision(3)} µs`;
}
function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1 << 20) return `${(bytes / 1024).toFixed(0)} KiB`;
  return `${(bytes / (1 << 20)).toFixed(1)} MiB`;
}

/* --- the run --- */

function said(record, ...names) {
  return names.map((name) => record[name]).filter((each) => each !== undefined && each !== null
    && each !== "").join(" ");
}
function duration(value) {
  if (value === null) return "";
  const minutes = Math.floor(value / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(value % 60)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
function showRun() {
  const run = index.run;
  const ended = run.ended ? `${run.ended}, after ${duration(run.seconds)}`
    : "not: it was interrupted, or still ran when this page was written";
  const facts = [
    ["Target", said(run.target, "name", "version", "commit")],
    ["Backend", said(run.target, "backend")],
    ["Kernels", run.kernels.map((each) => said(each, "release")).join(", ")],
    ["Accelerator", said(run.accelerator, "name") + (run.accelerator.reason
      ? ` (${run.accelerator.reason})` : "")],
    ["Host", said(run.host, "name") + (run.host.cpus ? `, ${run.host.cpus} CPUs` : "")
      + (run.host.release ? `, Linux ${run.host.release}` : "")],
    ["Added to the kernels' command line", run.options.append || ""],
    ["Seed", run.seed === null ? "" : String(run.seed)],
    ["Started", run.started],
    ["Ended", ended],
    ["Page written", run.written],
  ];
  byId("identity").append(...facts.filter(([, value]) => value).map(([name, value]) =>
    element("div", null, element("dt", null, name), element("dd", null, value))));
  if (run.problem) {
    byId("identity").after(element("p", {class: "problem"}, run.problem));
  }
  byId("more").querySelector("div").append(
    run.command ? element("pre", {class: "folded"}, run.command) : "",
    element("p", {class: "mono"}, Object.entries(run.options).map(([name, value]) =>
      `${name}=${Array.isArray(value) ? value.join(",") : value}`).join("  ")),
    files(run.files));
}
function files(list) {
  return element("ul", {class: "files"}, list.map(([to, name, bytes]) =>
    element("li", null, element("a", {href: to}, name), ` ${size(bytes)}`)));
}

/* --- filter --- */

function matching() {
  const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) => (!state.outcomes.size || state.outcomes.has(row.outcome))
    && words.every((word) => row.words.includes(word)));
}
function inCell(row) {
  if (!state.cell) return true;
  const [down, across] = state.cell;
  return (down === null || index.axes[state.down].of[row.number] === down)
    && (across === null || index.axes[state.across].of[row.number] === across);
}
function apply() {
  const base = matching();
  showMatrix(base);
  found = base.filter(inCell).sort(ORDERS[state.order]);
  made = 0;
  byId("list").replaceChildren();
  more(CHUNK);
  byId("shown").textContent = `${found.length.toLocaleString("en")} of `
    + `${rows.length.toLocaleString("en")} scenarios${state.cell ? ", of one cell" : ""}.`;
  for (const button of byId("outcomes").children) {
    button.setAttribute("aria-pressed", state.outcomes.has(button.dataset.outcome));
  }
  remember();
}
function remember() {
  const kept = new URLSearchParams();
  if (state.query) kept.set("q", state.query);
  if (state.outcomes.size) kept.set("o", [...state.outcomes].join(","));
  if (state.down !== axisLike("point")) kept.set("down", state.down);
  if (state.across !== axisLike("mechanism", state.down)) kept.set("across", state.across);
  if (state.order !== "worst first") kept.set("order", state.order);
  if (state.cell) kept.set("cell", state.cell.map((each) => each ?? "").join(","));
  const hash = kept.toString();
  try {
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  } catch { /* too often, or not allowed here: the page works without */ }
}
function recall() {
  const kept = new URLSearchParams(location.hash.slice(1));
  state.query = kept.get("q") || "";
  state.outcomes = new Set((kept.get("o") || "").split(",").filter((each) => worst.has(each)));
  state.down = Object.hasOwn(index.axes, kept.get("down") || "") ? kept.get("down")
    : axisLike("point");
  state.across = Object.hasOwn(index.axes, kept.get("across") || "") ? kept.get("across")
    : axisLike("mechanism", state.down);
  if (ORDERS[kept.get("order")]) state.order = kept.get("order");
  const cell = (kept.get("cell") || "").split(",");
  if (cell.length === 2 && state.down) {
    state.cell = cell.map((each) => (each === "" ? null : Number(each)));
  }
  byId("query").value = state.query;
}
function axisLike(name, other) {
  if (Object.hasOwn(index.axes, name) && name !== other) return name;
  return Object.keys(index.axes).find((each) => each !== other) || Object.keys(index.axes)[0] || "";
}
function showControls() {
  byId("outcomes").append(...index.outcomes.filter((each) => index.counts[each]).map((outcome) => {
    const button = element("button", {type: "button", class: `o ${outcome}`,
      "data-sign": SIGNS[outcome], "data-outcome": outcome, "aria-pressed": "false"},
      `${outcome} ${index.counts[outcome].toLocaleString("en")}`);
    button.addEventListener("click", () => {
      if (!state.outcomes.delete(outcome)) state.outcomes.add(outcome);
      apply();
    });
    return button;
  }));
  choice("order", Object.keys(ORDERS), state.order, (value) => { state.order = value; });
  const names = Object.keys(index.axes);
  choice("down", names, state.down, (value) => { state.down = value; state.cell = null; });
  choice("across", names, state.across, (value) => { state.across = value; state.cell = null; });
  byId("query").addEventListener("input", (event) => {
    state.query = event.target.value;
    apply();
  });
  byId("clear").addEventListener("click", clear);
}
function clear() {
  state.query = byId("query").value = "";
  state.outcomes.clear();
  state.cell = null;
  apply();
}
function choice(id, names, chosen, choose) {
  const select = byId(id);
  select.append(...names.map((name) => element("option", {value: name}, name)));
  select.value = chosen;
  select.addEventListener("change", () => { choose(select.value); apply(); });
}

/* --- matrix --- */

function showMatrix(base) {
  const [down, across] = [index.axes[state.down], index.axes[state.across]];
  byId("matrix").hidden = !down || !across;
  if (!down || !across) return;
  const counts = new Map();
  for (const row of base) {
    const key = down.of[row.number] * across.values.length + across.of[row.number];
    const cell = counts.get(key) || new Array(index.outcomes.length).fill(0);
    cell[row.place] += 1;
    counts.set(key, cell);
  }
  const used = [new Map(), new Map()];
  for (const [key, cell] of counts) {
    const bad = cell.findIndex(Boolean);
    [Math.floor(key / across.values.length), key % across.values.length].forEach((at, axis) => {
      used[axis].set(at, Math.min(used[axis].get(at) ?? 99, bad));
    });
  }
  const [lines, stacks] = [ordered(used[0], down.values, DOWN),
                           ordered(used[1], across.values, ACROSS)];
  const cut = used[0].size - lines.length + used[1].size - stacks.length;
  byId("cells-cut").textContent = cut
    ? `${cut} rows or columns without the worst are not shown: filter, or choose other axes.` : "";
  const head = element("tr", null,
    element("th", {scope: "col"}, `${state.down} \\ ${state.across}`),
    stacks.map((at) => element("th", {scope: "col"}, across.values[at])));
  const body = lines.map((line) => element("tr", null,
    element("th", {scope: "row"}, down.values[line]),
    stacks.map((at) => element("td", null, cellButton(
      counts.get(line * across.values.length + at), line, at)))));
  byId("cells").replaceChildren(element("thead", null, head), element("tbody", null, body));
  const first = byId("cells").querySelector("button[aria-pressed=true], button");
  if (first) first.tabIndex = 0;
}
function ordered(used, values, most) {
  const kept = [...used].sort((a, b) => a[1] - b[1]).slice(0, most).map(([at]) => at);
  return kept.sort((a, b) => (values[a] < values[b] ? -1 : 1));
}
function cellButton(cell, line, at) {
  if (!cell) return null;
  const pressed = Boolean(state.cell) && state.cell[0] === line && state.cell[1] === at;
  const several = cell.reduce((sum, each) => sum + each) > 1;
  const button = element("button", {type: "button", tabindex: "-1", "aria-pressed": pressed},
    index.outcomes.map((outcome, place) => (cell[place]
      ? badge(outcome, several ? `${outcome} ${cell[place]}` : outcome) : null)));
  button.addEventListener("click", () => {
    state.cell = pressed ? null : [line, at];
    apply();
    const again = byId("cells").querySelector("button[tabindex='0']");
    if (again) again.focus();
  });
  return button;
}
function moveInMatrix(event) {
  const from = event.target.closest("td");
  const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[
    event.key];
  if (!from || !step) return;
  event.preventDefault();
  event.stopPropagation();
  let [line, at] = [from.parentElement.rowIndex, from.cellIndex];
  for (;;) {
    line += step[0];
    at += step[1];
    const cell = byId("cells").rows[line] && byId("cells").rows[line].cells[at];
    if (!cell || line < 1 || at < 1) return;
    const button = cell.querySelector("button");
    if (button) {
      event.target.tabIndex = -1;
      button.tabIndex = 0;
      button.focus();
      return;
    }
  }
}

/* --- list --- */

function more(count) {
  const until = Math.min(found.length, made + count);
  const batch = [];
  for (; made < until; made += 1) batch.push(rowElement(found[made]));
  byId("list").append(...batch);
  byId("rest").textContent = made < found.length
    ? `${(found.length - made).toLocaleString("en")} more below.` : "";
}
function rowElement(row) {
  const button = element("button", {type: "button", "aria-expanded": "false"},
    badge(row.outcome),
    element("span", {class: "name"}, row.id),
    element("span", {class: "why"}, row.outcome === "PASS" ? row.slow
      : [row.known ? `${row.known}: ` : "", row.by ? `${row.by}: ` : "", row.why]),
    element("span", {class: "figure", "data-of": "longest"}, seconds(row.longest)),
    element("span", {class: "figure", "data-of": "teardown"}, seconds(row.teardown)));
  const item = element("li", {class: "row"}, button);
  button.addEventListener("click", () => toggle(item, button, row));
  return item;
}
function toggle(item, button, row) {
  const old = item.querySelector("article");
  if (old) old.remove();
  else item.append(article(row));
  item.classList.toggle("opened", !old);
  button.setAttribute("aria-expanded", !old);
  if (!old) drawCharts(item);
}
function article(row) {
  const shown = element("article", {"aria-label": row.id});
  if (byId(`d${row.number}`) || document.readyState !== "loading") {
    shown.append(...details(row));
  } else {
    shown.append(element("p", {class: "note"}, "This page is still being read."));
    document.addEventListener("DOMContentLoaded", () => {
      shown.replaceChildren(...details(row));
      drawCharts(shown);
    }, {once: true});
  }
  return shown;
}
function details(row) {
  let data = null;
  try {
    data = JSON.parse(byId(`d${row.number}`).textContent);
  } catch {
    return [element("p", {class: "problem"}, "The page is cut off: it has no more of this.")];
  }
  return detail(data, row);
}

/* --- detail: the deciding check first --- */

function section(title, ...content) {
  return element("div", null, element("h3", null, title), ...content);
}
function plain(heads, lines, numbers, name) {
  return element("div", {class: "wide"}, element("table", {class: `plain ${name || ""}`},
    heads ? element("thead", null, element("tr", null, heads.map((head, at) =>
      element("th", {class: numbers.includes(at) ? "number" : null}, head)))) : null,
    element("tbody", null, lines.map((line) => element("tr", null, line.map((cell, at) =>
      element("td", {class: numbers.includes(at) ? "number" : null}, cell)))))));
}
function detail(data, row) {
  const checks = data.checks || [];
  const deciding = checks[0] || [row.outcome, row.by, row.why];
  const parts = [element("p", {class: `deciding ${row.outcome}`},
    element("b", null, deciding[1] ? `${row.outcome}, by ${deciding[1]}: ` : `${row.outcome}: `),
    data.cause || deciding[2])];
  if (data.known) parts.push(element("p", null, row.outcome === "FIXED"
    ? "Was expected and not seen: " : "Known: ", link(data.known[1], data.known[0]),
    data.known.length > 2 ? `, by ${data.known.slice(2).join("; ")}` : ""));
  for (const words of data.slow || []) parts.push(element("p", {class: "problem"}, words));
  for (const words of data.problems || []) parts.push(element("p", {class: "problem"}, words));
  if (data.cut) parts.push(element("p", {class: "note"},
    "The page would be too large with the rest of what passed: see the files."));
  if (data.consequences) parts.push(section("Consequences",
    element("ul", null, data.consequences.map((words) => element("li", null, words)))));
  if (data.evidence && data.evidence.length) {
    parts.push(section("What it rests on", element("pre", {class: "folded", tabindex: "0"},
                                                   data.evidence.join("\n"))));
  }
  const telling = [...reports(data), ...standing(data)];
  const left = [chart(data), spread(data), ...telling];
  const right = [times(data)];
  (telling.length ? right : left).push(allChecks(checks), figures(data));
  parts.push(element("div", {class: "columns"}, element("div", null, left),
                     element("div", null, right)));
  if (data.replay) {
    parts.push(section("Run it again",
      element("pre", {class: "folded command", tabindex: "0"}, data.replay)));
  }
  if (data.missing) parts.push(section("Missing evidence",
    element("ul", null, data.missing.map((words) => element("li", null, words)))));
  parts.push(...pictures(data));
  if (data.files) parts.push(section("Files", files(data.files)));
  return parts;
}
function link(to, words) {
  if (!/^https?:\/\//.test(to)) return `${words} (${to})`;
  return element("a", {href: to, rel: "noreferrer"}, words);
}
function allChecks(checks) {
  if (!checks.length) return null;
  return section("Checks", element("table", {class: "plain checks"}, element("tbody", null,
    checks.map(([verdict, name, reason]) => element("tr", null,
      element("td", null, badge(verdict)), element("td", null, name),
      element("td", null, reason))))));
}
function figures(data) {
  if (!data.figures) return null;
  const shown = data.figures.map(([name, value, unit]) => [name.replaceAll("_", " "),
    value === null ? "–" : unit === "s" ? seconds(value) : value.toLocaleString("en")
      + (unit === "1" ? "" : ` ${unit}`)]);
  return element("details", null, element("summary", null, `Figures (${shown.length})`),
                 plain(null, shown, [1]));
}
function times(data) {
  if (!data.times) return null;
  const body = data.times.map(([at, source, words]) => element("tr",
    {class: source === "fault" ? "fault" : source === "console" ? "console"
      : source.startsWith("first") ? "first" : words.startsWith("teardown") ? "teardown" : null},
    element("td", {class: "number mono"}, `${at < 0 ? "−" : "+"}${Math.abs(at).toFixed(3)}`),
    element("td", null, source), element("td", null, words)));
  return section(`Time line, seconds from the ${data.since}`,
    element("table", {class: "plain times"}, element("tbody", null, body)));
}
function reports(data) {
  return (data.reports || []).map((report) => {
    const facts = [report.frame ? `named by ${report.frame}` : "no function names it",
      ...report.facts, ...(report.times > 1 ? [`${report.times} times`] : [])];
    return section(`Kernel: ${report.title}`, element("p", {class: "note"}, facts.join(", ")),
      element("pre", {tabindex: "0"}, report.lines.map((line, at) =>
        [report.naming.includes(at) ? named(line, report.frame) : line, "\n"]).flat(),
        report.cut ? "... (console.log has the rest)" : null));
  });
}
function named(line, frame) {
  const at = frame ? line.indexOf(frame) : -1;
  if (at < 0) return element("span", {class: "naming"}, element("mark", null, line));
  return element("span", {class: "naming"}, line.slice(0, at),
                 element("mark", null, frame), line.slice(at + frame.length));
}
function standing(data) {
  const shown = (data.stuck || []).map((table) => section("Stuck commands",
    plain(table[0], table.slice(1), [])));
  if (data.tasks) shown.push(section("Spinning and blocked tasks",
    element("pre", {tabindex: "0"}, data.tasks.join("\n"))));
  if (data.flying) shown.push(section("Commands in flight at the end",
    element("pre", {class: "folded", tabindex: "0"}, data.flying.join("\n"))));
  return shown;
}
function pictures(data) {
  const images = (data.files || []).filter(([, name]) => name.endsWith(".png"));
  return images.map(([to, name]) => {
    const folded = element("details", null, element("summary", null, `Chart: ${name}`));
    folded.addEventListener("toggle", () => {
      if (folded.open && folded.children.length === 1) {
        folded.append(element("figure", null, element("img", {src: to, alt: name})));
      }
    });
    return folded;
  });
}

/* --- charts --- */

function chart(data) {
  if (!data.chart) return null;
  const {points, of, kinds} = data.chart;
  const holder = element("figure", {class: "chart"});
  holder.chart = data.chart;
  const counts = new Array(kinds.length).fill(0);
  for (const [, , kind] of points) counts[kind] += 1;
  return section("Latency over the time of issue", holder,
    element("ul", {class: "legend"}, kinds.map((kind, at) => element("li", null,
      drawn("svg", {viewBox: "0 0 14 14", "aria-hidden": "true"}, sign(kind, [[7, 7]])),
      `${kind} (${counts[at]})`))),
    element("p", {class: "note"}, points.length < of
      ? `${points.length} of ${of}: the longest and shortest of each stretch.` : `All ${of}.`));
}
function drawCharts(within) {
  for (const holder of within.querySelectorAll("figure.chart")) {
    holder.replaceChildren(overTime(holder.chart, Math.max(holder.clientWidth, 280)));
  }
}
function sign(kind, places) {
  const [op, condition] = kind.split(" ");
  const known = ["write", "read", "flush", "command", "function"].includes(op) ? op : "other";
  const path = {done: (x, y) => `M${x} ${y}h0`, failed: (x, y) => `M${x - 4} ${y - 4}l8 8m0-8l-8 8`,
    open: (x, y) => `M${x - 5} ${y + 4}l5-9l5 9z`}[condition];
  return drawn("path", {class: `point ${condition} op-${known}`,
    d: places.map(([x, y]) => path(x.toFixed(1), y.toFixed(1)).replace(/(\d)-/g, "$1 -")).join("")});
}
function overTime(chart, width) {
  const height = Math.min(320, Math.max(220, width * 0.5));
  const [left, right, top, bottom] = [52, 8, 18, 48];
  const xs = chart.points.map((point) => point[0]);
  const ys = chart.points.map((point) => point[1]);
  if (chart.deadline) ys.push(chart.deadline);
  const [from, to] = [Math.min(chart.span[0], ...xs), Math.max(chart.span[1], ...xs)];
  const low = Math.floor(Math.log10(Math.min(...ys)));
  const high = Math.max(Math.ceil(Math.log10(Math.max(...ys))), low + 1);
  const x = (value) => left + (value - from) / ((to - from) || 1) * (width - left - right);
  const y = (value) => height - bottom
    - (Math.log10(value) - low) / (high - low) * (height - top - bottom);
  const svg = drawn("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label":
    `Latency of ${chart.of} I/Os and commands over the time of their issue, the fault's span `
    + "shaded, the deadline dashed"});
  if (chart.fault) {
    svg.append(drawn("rect", {class: "fault", x: x(chart.fault[0]), y: top,
      width: Math.max(x(chart.fault[1]) - x(chart.fault[0]), 2), height: height - top - bottom}),
      drawn("text", {x: x(chart.fault[0]) + 3, y: top - 5}, "fault"));
  }
  for (let power = low; power <= high; power += 1) {
    svg.append(drawn("path", {class: "grid", d: `M${left} ${y(10 ** power)}H${width - right}`}),
      drawn("text", {class: "quiet", x: left - 5, y: y(10 ** power) + 4, "text-anchor": "end"},
        decade(power)));
  }
  const step = niceStep((to - from) / Math.max(width / 90, 2));
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
    svg.append(drawn("text", {class: "quiet", x: x(at), y: height - bottom + 15,
      "text-anchor": "middle"}, String(Number(at.toFixed(6)))));
  }
  svg.append(drawn("text", {class: "quiet", x: (left + width) / 2, y: height - 17,
    "text-anchor": "middle"}, `seconds from the ${chart.since}`));
  if (chart.teardown) {
    const [begin, end] = [x(chart.teardown[0]), x(chart.teardown[1] ?? to)];
    const words = chart.teardown[1] === null ? "teardown, no end" : "teardown";
    const after = end + 100 < width;
    svg.append(drawn("rect", {class: "teardown", x: begin, y: height - 8,
      width: Math.max(end - begin, 2), height: 4}),
      drawn("text", {class: "quiet", x: after ? end + 5 : Math.max(begin - 5, 100),
        y: height - 2, "text-anchor": after ? "start" : "end"}, words));
  }
  for (const at of chart.reports || []) {
    svg.append(drawn("path", {class: "report", d: `M${x(at)} ${top}V${height - bottom}`}),
      drawn("path", {class: "report-sign", d: `M${x(at) - 5} ${top - 8}h10l-5 8z`}));
  }
  chart.kinds.forEach((kind, number) => {
    svg.append(sign(kind, chart.points.filter((point) => point[2] === number)
      .map((point) => [x(point[0]), y(point[1])])));
  });
  if (chart.deadline) {
    svg.append(drawn("path", {class: "deadline",
      d: `M${left} ${y(chart.deadline)}H${width - right}`}),
      drawn("text", {class: "deadline-word", x: left + 4, y: y(chart.deadline) + 13},
        `deadline ${seconds(chart.deadline)}`));
  }
  return svg;
}
function decade(power) {
  const value = 10 ** (((power % 3) + 3) % 3);
  const unit = {"-9": "ns", "-6": "µs", "-3": "ms", 0: "s", 3: "ks"}[Math.floor(power / 3) * 3];
  return `${value} ${unit || `e${power}`}`;
}
function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least || 1));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= least) || power * 10;
}
function spread(data) {
  if (!data.spread) return null;
  const periods = data.spread.filter((each) => each.ended || each.open);
  const heads = ["", "ended", "failed", "open", "median", "90 %", "99 %", "longest"];
  const lines = periods.map((each) => [each.name, each.ended, each.failed, each.open,
    seconds(each.median), seconds(each.p90), seconds(each.p99), seconds(each.longest)].map(String));
  return section("Latency before, during and after the fault",
    plain(heads, lines, [1, 2, 3, 4, 5, 6, 7]), bars(periods.filter((each) => each.ended)));
}
function bars(periods) {
  if (!periods.length) return null;
  const used = periods[0].counts.map((_, at) => at)
    .filter((at) => periods.some((each) => each.counts[at]));
  const [first, last] = [used[0], used[used.length - 1]];
  const [width, line, left] = [560, 46, 60];
  const wide = (width - left) / (last - first + 1);
  const svg = drawn("svg", {viewBox: `0 0 ${width} ${periods.length * line + 18}`, role: "img",
    "aria-label": "Histogram of latencies on a logarithmic axis; the table says the same"});
  periods.forEach((period, number) => {
    const most = Math.max(...period.counts);
    const base = (number + 1) * line;
    svg.append(drawn("text", {class: "quiet", x: left - 8, y: base - 12, "text-anchor": "end"},
                     period.name),
      drawn("path", {class: "grid", d: `M${left} ${base}H${width}`}));
    for (let at = first; at <= last; at += 1) {
      const tall = period.counts[at] && Math.max(period.counts[at] / most * (line - 8), 2);
      if (tall) svg.append(drawn("rect", {class: "bar", x: left + (at - first) * wide + 1,
        y: base - tall, width: Math.max(wide - 2, 1), height: tall}));
    }
  });
  for (let at = first; at <= last; at += 1) {
    if (at % 4 === 0) svg.append(drawn("text", {class: "quiet", x: left + (at - first) * wide,
      y: periods.length * line + 14}, decade(at / 4 - 5)));
  }
  return svg;
}

/* --- keys, printing, growth --- */

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    byId("query").focus();
    byId("query").select();
  } else if (event.key === "Escape") {
    escape(event);
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp")
             && !event.target.matches("select, pre, .scroll *")) {
    move(event, event.key === "ArrowDown" ? 1 : -1);
  }
}
function escape(event) {
  const item = event.target.closest(".row.opened");
  if (item) {
    const button = item.querySelector("button");
    button.click();
    button.focus();
  } else {
    clear();
  }
}
function move(event, step) {
  const item = event.target.closest(".row");
  const list = byId("list");
  if (!item && step < 0) return;
  const next = item ? (step > 0 ? item.nextElementSibling : item.previousElementSibling)
    : list.firstElementChild;
  event.preventDefault();
  if (next) next.querySelector("button").focus();
  else if (item && step < 0) byId("query").focus();
  if (next && step > 0 && !next.nextElementSibling) more(CHUNK);
}
function printing() {
  if (made < PRINTED) more(PRINTED - made);
  drawCharts(document);
}

recall();
showRun();
showControls();
apply();
byId("cells").addEventListener("keydown", moveInMatrix);
document.addEventListener("keydown", keys);
new IntersectionObserver((seen) => {
  if (seen.some((each) => each.isIntersecting) && made < found.length) more(CHUNK);
}, {rootMargin: "600px"}).observe(byId("rest"));
window.addEventListener("beforeprint", printing);
let resized = 0;
window.addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => drawCharts(document), 150);
});
performance.mark("stf-listed");
})();
