"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const [rows, columns] = data.grid;
const patches = rows * columns;
const photo = new Image();
const faint = document.createElement("canvas");

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

// One picture: the run after some steps in a look of `colourOf`, with the token of the `hovered` patch (-1 = none) lit.
function draw(canvas, run, steps, look, hovered) {
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
