"use strict";
// Asks the same REST paths that any program asks, and shows what they say.

const SHOWN_CLASSES = 5;
const AT_A_TIME = 4;
const POLL_MS = 3000;
const SMALL_PX = 66;

const byId = (id) => document.getElementById(id);
let models = [];
let busy = 0;
const waiting = [];

async function loadModels() {
  let found;
  try {
    const response = await fetch("/api/models");
    found = (await response.json()).models;
  } catch (error) {
    notice("The server does not answer. Is it still running?");
    return;
  }
  const isChanged = JSON.stringify(found) !== JSON.stringify(models);
  models = found;
  if (!models.some((model) => model.answers !== null)) {
    notice("No model is loaded yet. slimline run trains one and pushes it; it then appears here.", true);
  } else {
    notice("");
  }
  if (isChanged) showModels();
}

function showModels() {
  const select = byId("model");
  const before = select.value;
  fill(select, models.map((model) => [model.name, model.name]));
  if (models.some((model) => model.name === before)) select.value = before;
  showVersions();
}

function showVersions() {
  const model = chosenModel();
  const select = byId("version");
  const before = select.value;
  const options = [];
  if (model) {
    if (model.answers !== null) options.push(["", `served (${model.answers})`]);
    for (const [label, version] of Object.entries(model.labels)) {
      options.push([`/labels/${encodeURIComponent(label)}`, `${label} (${version})`]);
    }
    for (const entry of model.versions) {
      if (entry.state === "AVAILABLE") options.push([`/versions/${entry.version}`, String(entry.version)]);
    }
  }
  fill(select, options);
  if (options.some(([value]) => value === before)) select.value = before;
  const refused = model ? model.versions.filter((entry) => entry.error) : [];
  byId("about").textContent = !model ? "" : [
    model.classes.length ? `${model.classes.length} classes` : "",
    ...refused.map((entry) => `version ${entry.version} was refused: ${entry.error}`),
  ].filter(Boolean).join(" · ");
  showCommand(model);
}

function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  select.disabled = options.length === 0;
}

function chosenModel() {
  return models.find((model) => model.name === byId("model").value);
}

function showCommand(model) {
  const path = predictPath(model ? model.name : "NAME");
  byId("command").textContent =
    `(printf '{"signature_name": "predict_images", "instances": [{"b64": "'\n` +
    ` base64 < image.png | tr -d '\\n'\n` +
    ` printf '"}]}') | curl -d @- ${location.origin}${path}`;
}

function predictPath(name) {
  return `/v1/models/${encodeURIComponent(name)}${byId("version").value}:predict`;
}

function notice(text, isPlain = false) {
  const element = byId("notice");
  if (element.textContent !== text) element.textContent = text;
  element.classList.toggle("plain", isPlain);
  element.hidden = !text;
}

function take(files) {
  const cards = [...files].map((file) => {
    const card = byId("card").content.firstElementChild.cloneNode(true);
    card.querySelector(".name").textContent = file.name;
    waiting.push([file, card]);
    return card;
  });
  byId("cards").prepend(...cards);
  byId("list-head").hidden = !byId("cards").children.length;
  work();
}

async function work() {
  while (busy < AT_A_TIME && waiting.length) {
    const [file, card] = waiting.shift();
    busy += 1;
    ask(file, card).catch((error) => {
      showProblem(card, error instanceof TypeError ? "The server does not answer." : error.message);
    }).finally(() => {
      busy -= 1;
      work();
    });
  }
}

async function ask(file, card) {
  const bytes = await encoded(file);
  showThumbnail(bytes, card);
  const model = chosenModel();
  if (!model) throw new Error("No model is loaded yet.");
  const body = JSON.stringify({ signature_name: "predict_images", instances: [{ b64: await base64(bytes) }] });
  const started = performance.now();
  const response = await fetch(predictPath(model.name), {
    method: "POST", headers: { "Content-Type": "application/json" }, body,
  });
  const answer = await response.json();
  const milliseconds = Math.max(1, Math.round(performance.now() - started));
  if (!response.ok) throw new Error(answer.error.replace(/^instance 0: /, ""));
  const version = response.headers.get("Slimline-Model-Version");
  showAnswer(card, answer.predictions[0], `${model.name}, version ${version} · ${milliseconds} ms`);
}

// The server takes JPEG and PNG; of everything else the browser makes a PNG.
async function encoded(file) {
  const head = new Uint8Array(await file.slice(0, 4).arrayBuffer());
  const isJpeg = head[0] === 0xff && head[1] === 0xd8;
  const isPng = head[0] === 0x89 && head[1] === 0x50 && head[2] === 0x4e && head[3] === 0x47;
  if (isJpeg || isPng) return new Blob([file], { type: isJpeg ? "image/jpeg" : "image/png" });
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
  } catch (error) {
    throw new Error("This file is no image that the browser can read.");
  }
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The image is too large to convert."))), "image/png");
  });
}

async function base64(blob) {
  const reader = new FileReader();
  await new Promise((resolve, reject) => {
    reader.onload = resolve;
    reader.onerror = () => reject(new Error("The file cannot be read."));
    reader.readAsDataURL(blob);
  });
  return reader.result.slice(reader.result.indexOf(",") + 1);
}

function showThumbnail(blob, card) {
  const image = card.querySelector("img");
  const url = URL.createObjectURL(blob);
  image.onload = () => {
    image.hidden = false;
    image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) < SMALL_PX);
    URL.revokeObjectURL(url);
  };
  image.onerror = () => URL.revokeObjectURL(url);
  image.src = url;
}

function showAnswer(card, prediction, foot) {
  const rows = prediction.classes.map((name, place) => [name, prediction.scores[place]]);
  const [label, score] = rows[0];
  card.querySelector(".label").textContent = label;
  card.querySelector(".sure").textContent = percent(score);
  card.querySelector(".verdict").hidden = false;
  card.querySelector(".bars").replaceChildren(...rows.slice(0, SHOWN_CLASSES).map(bar));
  const more = rows.length - SHOWN_CLASSES;
  card.querySelector(".foot").textContent = more > 0 ? `${foot} · ${more} more classes` : foot;
  const file = card.querySelector(".name").textContent;
  card.querySelector("img").alt = `${file}: ${label}`;
  byId("heard").textContent = `${file}: ${label}, ${percent(score)}`;
}

function bar([name, score]) {
  const item = document.createElement("li");
  const fillOf = part("span", "fill");
  fillOf.style.width = `${100 * score}%`;
  const track = part("span", "track");
  track.setAttribute("aria-hidden", "true");
  track.append(fillOf);
  const label = part("span", "class", name);
  label.title = name;
  item.append(label, part("span", "share", percent(score)), track);
  return item;
}

function part(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function percent(score) {
  return `${(100 * score).toFixed(1)} %`;
}

function showProblem(card, text) {
  const problem = card.querySelector(".problem");
  problem.textContent = text;
  problem.hidden = false;
  card.querySelector(".foot").textContent = "";
  byId("heard").textContent = `${card.querySelector(".name").textContent}: ${text}`;
}

byId("choice").addEventListener("submit", (event) => event.preventDefault());
byId("model").addEventListener("change", showVersions);
byId("version").addEventListener("change", () => showCommand(chosenModel()));
byId("files").addEventListener("change", (event) => {
  take(event.target.files);
  event.target.value = "";
});
byId("clear").addEventListener("click", () => {
  waiting.length = 0;
  byId("cards").replaceChildren();
  byId("list-head").hidden = true;
  byId("files").focus();
});
// Anywhere on the page, else the browser would open what misses the field.
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    byId("drop").classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) byId("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").classList.remove("over");
  take(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => take(event.clipboardData.files));

loadModels();
setInterval(loadModels, POLL_MS);
