"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const [rows, columns] = data.grid;
const patches = rows * columns;
const $ = (id) => document.getElementById(id);
const state = { run: null, step: 0, hovered: -1, timer: 0 };
const photo = new Image();
const faint = document.createElement("canvas");

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const unique = (values) => [...new Set(values)];

// The patch that leads each patch's token after some steps; -1 = pruned.
function leadersAfter(run, steps) {
  const leader = Int32Array.from({ length: patches }, (_, patch) => patch);
  for (const [gone, into] of run.steps.slice(0, steps)) {
    for (let patch = 0; patch < patches; patch++) if (leader[patch] === gone) leader[patch] = into;
  }
  return leader;
}

function membersOf(leader) {
  const members = new Map();
  leader.forEach((lead, patch) => {
    if (lead >= 0) members.has(lead) ? members.get(lead).push(patch) : members.set(lead, [patch]);
  });
  return members;
}

function meanOf(members) {
  const sum = [0, 0, 0];
  for (const patch of members) data.means[patch].forEach((value, channel) => (sum[channel] += value));
  return `rgb(${sum.map((value) => Math.round(value / members.length)).join(",")})`;
}

function colourOf(look, run, lead, members) {
  if (look === "photo" || (look === "detail" && members.length === 1)) return null;
  return look === "distinct" ? data.palette[run.colours[lead]] : meanOf(members);
}

function draw(canvas, steps) {
  const { run, hovered } = state;
  const look = $("look").value;
  const context = canvas.getContext("2d");
  const leader = leadersAfter(run, steps);
  const scale = Math.max(1, Math.ceil(canvas.clientWidth * devicePixelRatio / columns));
  canvas.width = scale * columns;
  canvas.height = Math.round(scale * columns * data.size[1] / data.size[0] / rows) * rows;
  const tall = canvas.height / rows;
  const place = (patch) => [(patch % columns) * scale, Math.floor(patch / columns) * tall];
  const fill = (patch) => context.fillRect(...place(patch), scale, tall);

  context.imageSmoothingEnabled = data.size[0] > 8 * columns;
  context.drawImage(photo, 0, 0, canvas.width, canvas.height);
  for (const [lead, members] of membersOf(leader)) {
    const colour = colourOf(look, run, lead, members);
    if (colour === null) continue;
    context.fillStyle = colour;
    members.forEach(fill);
  }
  leader.forEach((lead, patch) => {
    if (lead < 0) context.drawImage(faint, ...source(patch), ...place(patch), scale, tall);
  });
  outline(context, leader, scale, tall, "rgba(0,0,0,0.85)", Math.max(1, scale / 26));
  if (hovered < 0) return;
  const lead = leader[hovered];
  // A pruned patch has no token: it is shown by itself.
  const inside = (patch) => (lead < 0 ? patch === hovered : leader[patch] === lead);
  context.fillStyle = "rgba(0,0,0,0.45)";
  for (let patch = 0; patch < patches; patch++) if (!inside(patch)) fill(patch);
  const mark = Int32Array.from(leader, (_, patch) => (inside(patch) ? 1 : 0));
  outline(context, mark, scale, tall, "#fff", Math.max(2, scale / 9), true);
}

// A faint grey print of the photograph, for pruned patches.
function fade() {
  [faint.width, faint.height] = data.size;
  const context = faint.getContext("2d");
  context.filter = "grayscale(1)";
  context.drawImage(photo, 0, 0);
  context.filter = "none";
  context.fillStyle = "rgba(238,238,238,0.8)";
  context.fillRect(0, 0, ...data.size);
}

// The part of the photograph that is one patch: x, y, width, height.
function source(patch) {
  const [wide, tall] = [data.size[0] / columns, data.size[1] / rows];
  return [(patch % columns) * wide, Math.floor(patch / columns) * tall, wide, tall];
}

// Lines between patches with different marks; with `frame`, also where a marked patch meets the edge of the image.
function outline(context, marks, wide, tall, colour, width, frame = false) {
  context.beginPath();
  const at = (row, column) =>
    row >= 0 && row < rows && column >= 0 && column < columns ? marks[row * columns + column] : frame ? 0 : null;
  for (let row = 0; row <= rows; row++) {
    for (let column = 0; column <= columns; column++) {
      const [here, left, above] = [at(row, column), at(row, column - 1), at(row - 1, column)];
      const ends = (a, b) => a !== null && b !== null && a !== b;
      if (row < rows && ends(here, left)) {
        context.moveTo(column * wide, row * tall);
        context.lineTo(column * wide, (row + 1) * tall);
      }
      if (column < columns && ends(here, above)) {
        context.moveTo(column * wide, row * tall);
        context.lineTo((column + 1) * wide, row * tall);
      }
    }
  }
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.lineCap = "square";
  context.stroke();
}

function tokensAfter(steps) {
  return patches - Math.min(steps, state.run.steps.length);
}

function redraw() {
  document.querySelectorAll("#strip canvas").forEach((canvas) => draw(canvas, Number(canvas.dataset.step)));
  showStep();
}

function showStep() {
  const { run, step, hovered } = state;
  draw($("current"), step);
  $("count").textContent = plural(tokensAfter(step), "token");
  const next = run.stages.findIndex((stage) => step < stage.steps);
  const at = run.stages.findIndex((stage) => stage.steps === step);
  const place = at >= 0 ? `end of stage ${at + 1}, block ${run.stages[at].block}`
    : step === 0 ? "before the first stage"
    : `in stage ${next + 1}, block ${run.stages[next].block}`;
  $("where").textContent = `Step ${step} of ${run.steps.length}: ${place}`;
  $("step").value = step;
  for (const button of $("stages").children) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.step) === step));
  }
  document.querySelectorAll("#strip figure").forEach((figure) => {
    figure.classList.toggle("here", Number(figure.firstChild.dataset.step) === step);
  });
  describe(hovered);
}

function describe(patch) {
  if (patch < 0) {
    $("patch").textContent = "";
    return;
  }
  const tell = (steps) => {
    const leader = leadersAfter(state.run, steps);
    if (leader[patch] < 0) return "pruned";
    const members = leader.filter((lead) => lead === leader[patch]).length;
    return members === 1 ? "a token of its own" : `one of ${members} patches in its token`;
  };
  const lines = state.run.stages.map((stage, number) => `Stage ${number + 1}: ${tell(stage.steps)}`);
  const name = `Patch in row ${Math.floor(patch / columns) + 1}, column ${(patch % columns) + 1}`;
  $("patch").textContent = [`${name}: ${tell(state.step)}`, ...lines].join("\n");
}

function goTo(step) {
  state.step = Math.max(0, Math.min(state.run.steps.length, step));
  showStep();
}

function play(running) {
  clearInterval(state.timer);
  state.timer = 0;
  $("play").textContent = running ? "Pause" : "Play";
  if (!running) return;
  if (state.step >= state.run.steps.length) goTo(0);
  state.timer = setInterval(() => {
    goTo(state.step + 1);
    if (state.step >= state.run.steps.length) play(false);
  }, 60);
}

function hover(patch) {
  if (patch === state.hovered) return;
  state.hovered = patch;
  redraw();
}

function patchAt(canvas, event) {
  const box = canvas.getBoundingClientRect();
  const column = Math.floor((event.clientX - box.left) / box.width * columns);
  const row = Math.floor((event.clientY - box.top) / box.height * rows);
  return row >= 0 && row < rows && column >= 0 && column < columns ? row * columns + column : -1;
}

function watch(canvas) {
  canvas.addEventListener("pointermove", (event) => hover(patchAt(canvas, event)));
  canvas.addEventListener("pointerdown", (event) => hover(patchAt(canvas, event)));
  canvas.addEventListener("pointerleave", () => hover(-1));
}

function setOptions(select, values) {
  const before = select.value || data.setting;
  select.replaceChildren(...values.map((value) => new Option(value, value)));
  if (values.includes(before)) select.value = before;
}

// The run chosen by the three selects, of which each offers what goes with the ones before it.
function choose() {
  const place = state.run && state.run.stages.findIndex((stage) => stage.steps === state.step);
  const share = state.run ? state.step / Math.max(1, state.run.steps.length) : 1;
  let runs = data.runs.filter((run) => run.reducer === $("reducer").value);
  const linkages = unique(runs.map((run) => run.linkage).filter((linkage) => linkage !== null));
  $("linkages").hidden = linkages.length === 0;
  if (linkages.length) {
    setOptions($("linkage"), linkages);
    runs = runs.filter((run) => run.linkage === $("linkage").value);
  }
  setOptions($("setting"), runs.map((run) => run.setting));
  state.run = runs.find((run) => run.setting === $("setting").value);
  const { stages, steps, notices } = state.run;
  $("step").max = steps.length;
  $("ends").replaceChildren(...stages.map((stage) => new Option("", stage.steps)));
  $("notice").textContent = notices.join("\n");
  layOut([{ steps: 0, tokens: patches }, ...stages]);
  // The same stage as before, or as far along as before.
  const same = place !== null && place >= 0 && place < stages.length;
  state.step = same ? stages[place].steps : Math.round(share * steps.length);
  redraw();
}

function layOut(stages) {
  const name = (number) => (number === 0 ? "Input" : `Stage ${number}`);
  $("stages").replaceChildren(...stages.map((stage, number) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name(number);
    button.dataset.step = stage.steps;
    button.addEventListener("click", () => goTo(stage.steps));
    return button;
  }));
  $("strip").replaceChildren(...stages.map((stage, number) => {
    const figure = document.createElement("figure");
    const canvas = document.createElement("canvas");
    const caption = document.createElement("figcaption");
    canvas.dataset.step = stage.steps;
    canvas.addEventListener("click", () => goTo(stage.steps));
    watch(canvas);
    caption.textContent = number ? `${name(number)}: ${plural(stage.tokens, "token")}` : `Input: ${patches} patches`;
    figure.append(canvas, caption);
    return figure;
  }));
}

function start() {
  fade();
  setOptions($("reducer"), unique(data.runs.map((run) => run.reducer)));
  for (const id of ["reducer", "linkage", "setting"]) {
    $(id).addEventListener("change", () => { play(false); choose(); });
  }
  $("look").addEventListener("change", redraw);
  $("step").addEventListener("input", (event) => { play(false); goTo(Number(event.target.value)); });
  $("play").addEventListener("click", () => play(!state.timer));
  const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  $("current").addEventListener("keydown", (event) => {
    if (!(event.key in move)) return;
    event.preventDefault();
    hover((Math.max(0, state.hovered) + move[event.key] + patches) % patches);
  });
  $("current").addEventListener("blur", () => hover(-1));
  watch($("current"));
  addEventListener("resize", redraw);
  choose();
}

photo.addEventListener("load", start);
photo.src = data.photo;
