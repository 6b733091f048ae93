"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const HUES = { forward: 210, backward: 28, optimizer: 130 };
const PHASE_COLOURS = {
  recording: "#8e6bbf", compiling: "#b59ad6", guards: "#e0c341", forward: "#3970b8", backward: "#d9822b",
  optimizer: "#3c9a5f", results: "#c9b458", "eager forward": "#8fb3e0", "eager backward": "#edbd8b",
  "eager optimizer": "#93cfa8", Python: "#aeb5c0",
};

function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function draw(name, attributes = {}, parent = null, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

// Overview.

function overview() {
  $("summary").textContent = data.summary;
  const whole = data.phases.reduce((sum, p) => sum + p.seconds, 0) || 1;
  for (const p of data.phases) {
    const colour = PHASE_COLOURS[p.name], part = (100 * p.seconds) / whole;
    const title = `${p.name}: ${p.time}, ${part.toFixed(1)}%`;
    $("phases").append(make("div", { style: `width:${part}%;background:${colour}`, title }));
    $("legend").append(make("li", {}, make("i", { style: `background:${colour}` }), title));
  }
  if (data.memory.length > 1) {
    const end = data.memory.at(-1)[0] || 1, most = Math.max(...data.memory.map((m) => m[1]));
    const points = data.memory.map(([t, used]) => `${(600 * t) / end} ${78 - (70 * used) / most}`);
    draw("path", { d: `M0 80L${points.join("L")}L600 80Z` }, $("memory"));
    const mib = (n) => `${(n / 2 ** 20).toFixed(0)} MiB`;
    $("memory-axis").append(make("span", {}, "0 s"), make("span", {}, `at most ${mib(most)}`), make("span", {}, `${end.toFixed(2)} s`));
  }
}

// The graph: kernels in groups, which are expanded or collapsed.

class Group {
  constructor(name, parent) {
    this.name = name;
    this.parent = parent;
    this.id = parent ? `${parent.id}/${name}` : name;
    this.groups = new Map();
    this.kernels = [];
    this.expanded = false;
    this.part = 0;
    this.nanoseconds = 0;
    this.count = 0;
  }
  all() {
    return [this, ...[...this.groups.values()].flatMap((g) => g.all())];
  }
}

let program, root, home, chosen = -1;

function grouped(p) {
  const top = new Group("", null);
  for (const index of p.kernels) {
    const kernel = data.kernels[index];
    let group = top;
    for (const name of ["", ...kernel.group]) {
      if (name) {
        if (!group.groups.has(name)) group.groups.set(name, new Group(name, group));
        group = group.groups.get(name);
      }
      group.part += kernel.part;
      group.nanoseconds += kernel.nanoseconds;
      group.count += 1;
    }
    group.kernels.push(index);
  }
  // A few levels are open at first: about thirty boxes.
  let level = [top];
  let shown = 1;
  while (level.length) {
    const next = [];
    for (const g of level) {
      const more = g.groups.size + g.kernels.length;
      if (g === top || shown + more <= 40) {
        g.expanded = true;
        shown += more - 1;
        next.push(...g.groups.values());
      }
    }
    level = next;
  }
  return top;
}

function time(nanoseconds) {
  for (const [unit, factor] of [["s", 1e9], ["ms", 1e6], ["us", 1e3]])
    if (nanoseconds >= factor) return `${(nanoseconds / factor).toPrecision(3)} ${unit}`;
  return `${nanoseconds} ns`;
}

const share = (part) => `${(100 * part).toFixed(part < 0.1 ? 1 : 0)}%`;
const shortened = (text, most = 34) => (text.length > most ? `${text.slice(0, most - 1)}\u2026` : text);

// Each group is laid out by itself, with the groups in it as boxes: an edge connects the two boxes that contain its ends.
function arrange(group) {
  const boxes = new Map(), visible = new Map();
  for (const inner of group.groups.values()) {
    const lines = [shortened(inner.name), `${inner.count} kernels, ${time(inner.nanoseconds)}, ${share(inner.part)}`];
    const box = inner.expanded ? framed(inner) : sized({ lines });
    boxes.set(inner.id, { ...box, group: inner });
    for (const each of inner.all()) for (const k of each.kernels) visible.set(k, inner.id);
  }
  for (const k of group.kernels) {
    const kernel = data.kernels[k];
    const lines = [shortened(kernel.short), `${kernel.time}, ${share(kernel.part)}  ${shortened(kernel.result, 22)}`];
    boxes.set(`#${k}`, { ...sized({ lines }), kernel: k });
    visible.set(k, `#${k}`);
  }
  const edges = new Map();
  const components = new Components(boxes.keys());
  for (const [a, b, label] of program.edges) {
    const from = visible.get(a), to = visible.get(b);
    if (from === undefined || to === undefined || from === to) continue;
    const key = `${from}\n${to}`;
    if (!edges.has(key)) edges.set(key, { from, to, labels: new Set() });
    edges.get(key).labels.add(label);
    components.join(from, to);
  }
  const parts = components.all().map((ids) => component(ids, boxes, [...edges.values()], group === root ? "LR" : "TB"));
  // Components are put into rows.
  const area = parts.reduce((sum, part) => sum + (part.width + 16) * (part.height + 16), 0);
  const most = Math.max(Math.sqrt(area * 2.2), ...parts.map((part) => part.width));
  let left = 0, top = 0, tall = 0, width = 0, height = 0;
  for (const part of parts) {
    if (left && left + part.width > most) [left, top, tall] = [0, top + tall + 16, 0];
    for (const id of part.ids) {
      boxes.get(id).x += left;
      boxes.get(id).y += top;
    }
    for (const e of part.edges) e.points = e.points.map((p) => ({ x: p.x + left, y: p.y + top }));
    left += part.width + 16;
    tall = Math.max(tall, part.height);
    width = Math.max(width, left - 16);
    height = Math.max(height, top + tall);
  }
  return { width, height, boxes, edges: [...edges.values()] };
}

// Disjoint sets of boxes: those that edges connect.
class Components {
  constructor(ids) {
    this.parents = new Map([...ids].map((id) => [id, id]));
  }
  find(id) {
    while (this.parents.get(id) !== id) id = this.parents.get(id);
    return id;
  }
  join(a, b) {
    this.parents.set(this.find(a), this.find(b));
  }
  all() {
    const found = new Map();
    for (const id of this.parents.keys()) {
      const first = this.find(id);
      if (!found.has(first)) found.set(first, []);
      found.get(first).push(id);
    }
    return [...found.values()];
  }
}

function component(ids, boxes, edges, rankdir) {
  const g = new dagre.graphlib.Graph(), mine = new Set(ids);
  g.setGraph({ rankdir, nodesep: 16, ranksep: 30 });
  for (const id of ids) g.setNode(id, { width: boxes.get(id).width, height: boxes.get(id).height });
  const its = edges.filter((e) => mine.has(e.from));
  for (const e of its) g.setEdge(e.from, e.to, {});
  dagre.layout(g);
  for (const id of ids) Object.assign(boxes.get(id), { x: g.node(id).x, y: g.node(id).y });
  for (const e of its) e.points = g.edge(e.from, e.to).points;
  return { ids, edges: its, width: g.graph().width, height: g.graph().height };
}

function sized(box) {
  return { ...box, width: Math.max(box.lines[0].length * 7.6, box.lines[1].length * 6.6) + 18, height: 38 };
}

const MARGIN = 12, TITLE = 24;

function framed(group) {
  const inside = arrange(group);
  const title = `\u25be ${group.name}  ${time(group.nanoseconds)}, ${share(group.part)}`;
  const width = Math.max(inside.width, title.length * 7.4) + 2 * MARGIN;
  return { inside, title, width, height: inside.height + TITLE + MARGIN };
}

function paint({ boxes, edges }, left, top, view) {
  for (const box of boxes.values()) if (box.inside) frame(box, left, top, view);
  for (const e of edges) {
    const points = e.points.map((p) => `${(p.x + left).toFixed(1)} ${(p.y + top).toFixed(1)}`);
    const line = draw("path", { class: "edge", d: `M${points.join("L")}`, "marker-end": "url(#arrow)", "data-from": e.from, "data-to": e.to }, view);
    draw("title", {}, line, [...e.labels].slice(0, 8).join("\n"));
  }
  for (const [id, box] of boxes) if (!box.inside) leaf(id, box, left, top, view);
}

function frame(box, left, top, view) {
  const [x0, y0] = [left + box.x - box.width / 2, top + box.y - box.height / 2];
  const c = draw("g", { class: "cluster", "data-group": box.group.id }, view);
  draw("rect", { x: x0, y: y0, width: box.width, height: box.height, rx: 6 }, c);
  draw("text", { x: x0 + 8, y: y0 + 16 }, c, box.title).addEventListener("click", () => toggle(box.group));
  paint(box.inside, x0 + (box.width - box.inside.width) / 2, y0 + TITLE, view);
}

function leaf(id, box, left, top, view) {
  const kernel = data.kernels[box.kernel], part = box.group ? box.group.part : kernel.part;
  const phase = box.group ? box.group.id.split("/")[1] : kernel.group[0];
  const light = 94 - 55 * Math.min(1, Math.sqrt(part * 2));
  const [cx, cy] = [left + box.x, top + box.y];
  const node = draw("g", { class: `node${light < 58 ? " heavy" : ""}`, "data-id": id }, view);
  const fill = `hsl(${HUES[phase]} 60% ${light}%)`;
  draw("rect", { x: cx - box.width / 2, y: cy - box.height / 2, width: box.width, height: box.height, rx: box.group ? 9 : 3, fill }, node);
  draw("text", { class: "name", x: cx, y: cy - 4, "text-anchor": "middle" }, node, box.group ? `\u25b8 ${box.lines[0]}` : box.lines[0]);
  draw("text", { x: cx, y: cy + 12, "text-anchor": "middle" }, node, box.lines[1]);
  if (kernel) draw("title", {}, node, `${kernel.name}\n${kernel.lines.join("\n")}`);
  node.addEventListener("click", () => (box.group ? toggle(box.group) : choose(box.kernel)));
}

function render() {
  const view = $("view"), whole = arrange(root);
  view.replaceChildren();
  paint(whole, MARGIN, MARGIN, view);
  $("graph").dataset.boxes = view.querySelectorAll(".node").length;
  home = { width: whole.width + 2 * MARGIN, height: whole.height + 2 * MARGIN };
  mark();
}

function toggle(group) {
  group.expanded = !group.expanded;
  render();
  fit();
}

// Zooming.

let scale = 1, x = 0, y = 0;

function move() {
  $("view").setAttribute("transform", `translate(${x} ${y}) scale(${scale})`);
}

// The whole width, if its text is then legible; tall graphs begin at their top.
function fit() {
  const { width, height } = $("graph").getBoundingClientRect();
  const whole = Math.min(width / home.width, height / home.height);
  scale = Math.min(1.3, Math.max(whole, Math.min(width / home.width, 0.75)));
  x = Math.max((width - scale * home.width) / 2, 0);
  y = scale * home.height > height ? 0 : (height - scale * home.height) / 2;
  move();
}

function zoom(factor, px, py) {
  const next = Math.min(4, Math.max(0.03, scale * factor));
  x = px - ((px - x) * next) / scale;
  y = py - ((py - y) * next) / scale;
  scale = next;
  move();
}

function zooming() {
  const graph = $("graph");
  const middle = (factor) => zoom(factor, graph.clientWidth / 2, graph.clientHeight / 2);
  graph.addEventListener("wheel", (event) => {
    event.preventDefault();
    const at = graph.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 400), event.clientX - at.left, event.clientY - at.top);
  }, { passive: false });
  graph.addEventListener("pointerdown", (event) => {
    const start = [event.clientX - x, event.clientY - y], from = [event.clientX, event.clientY];
    const follow = (e) => {
      if (Math.hypot(e.clientX - from[0], e.clientY - from[1]) < 4) return;
      graph.classList.add("moving");
      [x, y] = [e.clientX - start[0], e.clientY - start[1]];
      move();
    };
    const end = () => {
      removeEventListener("pointermove", follow);
      graph.classList.remove("moving");
    };
    addEventListener("pointermove", follow);
    addEventListener("pointerup", end, { once: true });
  });
  $("in").onclick = () => middle(1.3);
  $("out").onclick = () => middle(1 / 1.3);
  $("fit").onclick = fit;
  $("more").onclick = () => {
    for (const group of root.all()) if (!group.expanded && (!group.parent || group.parent.expanded)) group.opens = true;
    for (const group of root.all()) if (group.opens) [group.expanded, group.opens] = [true, false];
    render();
    fit();
  };
  $("less").onclick = () => {
    for (const group of root.all()) group.expanded = group === root;
    render();
    fit();
  };
}

// The stages.

function rows(where, texts) {
  where.replaceChildren(...texts.map(([text, line, kernel]) => {
    const attributes = {};
    if (line) attributes["data-line"] = line;
    if (kernel >= 0) attributes["data-kernel"] = kernel;
    return make("div", attributes, text);
  }));
}

function stages() {
  rows($("recorded"), program.graph.map(([text, line]) => [text, line, -1]));
  rows($("fused"), program.fused);
  const taken = new Map();
  for (const k of program.kernels) {
    const kernel = data.kernels[k];
    for (const line of kernel.lines) taken.set(line, (taken.get(line) || 0) + kernel.nanoseconds / kernel.lines.length);
  }
  const source = $("source");
  source.replaceChildren();
  for (const [path, lines] of Object.entries(data.files)) {
    source.append(make("h3", {}, path));
    let before = 0;
    for (const [number, text] of lines) {
      if (before && number !== before + 1) source.append(make("div", {}, "\u22ee"));
      before = number;
      const line = `${path}:${number}`, row = make("div", { "data-line": line }, make("i", {}, String(number)), text);
      if (taken.has(line)) row.append(make("s", {}, time(taken.get(line))));
      source.append(row);
    }
  }
}

// The kernel at one stage: its source, or its LLVM IR or assembly, which the page holds compressed.

let form = "source";

async function code(kernel) {
  for (const button of $("forms").children) button.classList.toggle("chosen", button.dataset.form === form);
  const wanted = form;
  const text = await formed(kernel, wanted);
  if (kernel !== data.kernels[chosen] || wanted !== form) return; // another one has been chosen meanwhile
  $("code").replaceChildren(make("h3", {}, kernel.name), ...(text === null ? [absent(kernel, wanted)] : text.split("\n").map((line) => make("div", {}, line))));
}

async function formed(kernel, wanted) {
  if (wanted === "source") return data.codes[kernel.code];
  const pair = data.machine[kernel.code];
  if (!pair || !window.DecompressionStream) return null;
  const bytes = Uint8Array.from(atob(pair[wanted === "llvm" ? 0 : 1]), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}

function absent(kernel, wanted) {
  const about = data.codes[kernel.code].includes("def kernel(")
    ? `This report has the LLVM IR and the assembly of at most ${data.machineLimit} kernels, those that took the most time. All are printed by: tracer dump --run SCRIPT --stage ${wanted}`
    : "NumPy computes this step: there is no kernel.";
  return make("p", { class: "hint" }, about);
}

function choose(k) {
  chosen = k;
  const kernel = data.kernels[k];
  if (kernel.program !== program.number) show(data.programs.find((p) => p.number === kernel.program));
  code(kernel);
  const roof = kernel.roof ? `${(100 * kernel.roof).toFixed(0)}% of the roof` : "";
  const facts = [`${kernel.calls} calls`, kernel.time, `${kernel.mean} each`, share(kernel.part), kernel.bytes, kernel.bandwidth, kernel.flops && `${kernel.flops} flops`, kernel.rate, roof, kernel.phase, kernel.group.slice(1).join("/")];
  $("detail").replaceChildren(make("b", {}, kernel.name), ...facts.filter(Boolean).map((fact) => make("span", {}, fact)), make("em", {}, kernel.lines.join(", ")));
  // Its box may be in a collapsed module.
  let group = root, opened = false;
  for (const name of kernel.group) {
    group = group.groups.get(name);
    opened ||= !group.expanded;
    group.expanded = true;
  }
  if (opened) {
    render();
    fit();
  }
  mark(kernel.lines, true);
}

function mark(lines = chosen >= 0 ? data.kernels[chosen].lines : [], scrolls = false) {
  const wanted = new Set(lines);
  for (const where of ["source", "recorded", "fused"]) {
    let first = null;
    for (const row of $(where).children) {
      const mine = chosen >= 0 && row.dataset.kernel === String(chosen);
      const line = wanted.has(row.dataset.line) && !(where === "fused" && chosen >= 0);
      row.classList.toggle("chosen", mine);
      row.classList.toggle("line", line);
      if (!first && (mine || line)) first = row;
    }
    if (scrolls && first) $(where).scrollTop = first.offsetTop - $(where).offsetTop - 60;
  }
  for (const node of document.querySelectorAll(".node")) {
    const k = node.dataset.id.startsWith("#") ? Number(node.dataset.id.slice(1)) : -1;
    const touched = chosen >= 0 ? k === chosen : k >= 0 && data.kernels[k].lines.some((line) => wanted.has(line));
    node.classList.toggle("chosen", touched);
  }
  for (const edge of document.querySelectorAll(".edge"))
    edge.classList.toggle("near", chosen >= 0 && (edge.dataset.from === `#${chosen}` || edge.dataset.to === `#${chosen}`));
  for (const row of $("kernels").tBodies[0].rows) row.classList.toggle("chosen", row.dataset.kernel === String(chosen));
}

function chooseLine(line) {
  const its = program.kernels.filter((k) => data.kernels[k].lines.includes(line));
  chosen = -1;
  for (const button of $("forms").children) button.classList.remove("chosen");
  const spent = its.reduce((sum, k) => sum + data.kernels[k].nanoseconds / data.kernels[k].lines.length, 0);
  $("detail").replaceChildren(make("b", {}, line), make("span", {}, `${its.length} kernels have operations of this line, about ${time(spent)}`));
  $("code").replaceChildren(...its.map((k) => {
    const row = make("div", { "data-kernel": k }, `${data.kernels[k].time}  ${data.kernels[k].name}`);
    row.addEventListener("click", (event) => {
      event.stopPropagation();
      choose(k);
    });
    return row;
  }));
  mark([line], true);
}

// The tables.

const COLUMNS = [
  ["kernel", (k) => k.name], ["phase", (k) => k.phase], ["calls", (k) => k.calls], ["total", (k) => k.time, (k) => k.nanoseconds],
  ["share", (k) => share(k.part), (k) => k.part], ["mean", (k) => k.mean, (k) => k.nanoseconds / k.calls], ["bytes", (k) => k.bytes],
  ["bandwidth", (k) => k.bandwidth, (k) => parseFloat(k.bandwidth)], ["flops", (k) => k.flops], ["rate", (k) => k.rate, (k) => parseFloat(k.rate) || 0],
  ["roof", (k) => (k.roof ? `${(100 * k.roof).toFixed(0)}%` : ""), (k) => k.roof], ["source", (k) => k.lines.join(", ")],
];

function tables() {
  const head = $("kernels").tHead.insertRow(), body = $("kernels").tBodies[0];
  const fill = (key, descending) => {
    const order = data.kernels.map((_, k) => k).sort((a, b) => {
      const [p, q] = [key(data.kernels[a]), key(data.kernels[b])];
      return (p < q ? -1 : p > q ? 1 : 0) * (descending ? -1 : 1);
    });
    body.replaceChildren(...order.slice(0, 400).map((k) => {
      const row = make("tr", { "data-kernel": k }, ...COLUMNS.map(([, text]) => make("td", {}, String(text(data.kernels[k])))));
      row.addEventListener("click", () => choose(k));
      return row;
    }));
  };
  for (const [name, text, value] of COLUMNS) {
    let descending = false;
    const cell = make("th", {}, name);
    cell.addEventListener("click", () => fill(value ?? text, (descending = !descending)));
    head.append(cell);
  }
  fill((k) => k.nanoseconds, true);
  for (const e of data.eager) $("eager").tBodies[0].append(make("tr", {}, ...[e.name, e.phase, e.calls, e.time].map((cell) => make("td", {}, String(cell)))));
}

function show(p) {
  program = p;
  root = grouped(p);
  $("program").value = p.number;
  render();
  fit();
  stages();
}

overview();
tables();
zooming();
for (const where of ["source", "recorded", "fused"])
  $(where).addEventListener("click", (event) => {
    const row = event.target.closest("[data-line],[data-kernel]");
    if (!row) return;
    if (row.dataset.kernel !== undefined) choose(Number(row.dataset.kernel));
    else chooseLine(row.dataset.line);
  });
$("forms").addEventListener("click", (event) => {
  form = event.target.dataset.form ?? form;
  if (chosen >= 0) code(data.kernels[chosen]);
});
for (const p of data.programs) {
  const spent = p.kernels.reduce((sum, k) => sum + data.kernels[k].nanoseconds, 0);
  $("program").append(make("option", { value: p.number }, `${p.number}: ${p.title}, ${time(spent)}`));
}
$("program").onchange = () => {
  chosen = -1;
  show(data.programs.find((p) => p.number === Number($("program").value)));
};
if (data.programs.length) {
  const spent = (p) => p.kernels.reduce((sum, k) => sum + data.kernels[k].nanoseconds, 0);
  show(data.programs.reduce((a, b) => (spent(b) > spent(a) ? b : a)));
}
document.body.dataset.ready = "true";
