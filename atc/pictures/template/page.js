"use strict";

const $ = (id) => document.getElementById(id);
const state = { run: null, step: 0, hovered: -1, timer: 0 };

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const unique = (values) => [...new Set(values)];

function paint(canvas, steps) {
  draw(canvas, state.run, steps, $("look").value, state.hovered);
}

function tokensAfter(steps) {
  return patches - Math.min(steps, state.run.steps.length);
}

function redraw() {
  document.querySelectorAll("#strip canvas").forEach((canvas) => paint(canvas, Number(canvas.dataset.step)));
  showStep();
}

function showStep() {
  const { run, step, hovered } = state;
  paint($("current"), step);
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
