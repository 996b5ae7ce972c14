"use strict";

const MOST_BYTES = 2 ** 29;
const MOST_SHOWN = 10;
const LIVE_SECONDS = 10;

const at = (id) => document.getElementById(id);

/** What is shown: the sound and the answers to it; null before there is any. */
let shown = null;

/** The one model of the page, once it can be read; tests and other scripts wait for it too. */
let given;
const opening = new Promise((resolve) => (given = resolve));
window.tagger = opening.then((folder) => Tagger.open(folder));

const tell = (text) => (at("status").textContent = text);

/** Runs what a person asked for; whatever goes wrong is said where they look. */
async function attempt(action) {
  at("problem").textContent = "";
  try {
    return await action();
  } catch (error) {
    tell("");
    at("problem").textContent = error instanceof TaggerError ? error.message : `Something went wrong: ${error.message}`;
  }
}

async function start() {
  if (location.protocol === "file:") {
    at("folder").hidden = false;
    at("about").textContent = "";
    at("folder-files").addEventListener("change", () => attempt(() => given(chosen(at("folder-files").files))));
  } else {
    given(".");
  }
  opening.then(() => {
    at("folder").hidden = true;
    tell("Loading the model …");
  });
  const tagger = await window.tagger;
  describe(tagger);
  tell(`Ready, on ${tagger.ports.threads === 1 ? "one thread" : `${tagger.ports.threads} threads`}.`);
}

/** Reads from a folder that a person has chosen, by names relative to it. */
function chosen(files) {
  const byName = new Map(Array.from(files, (file) => [file.webkitRelativePath.replace(/^[^/]*\//, ""), file]));
  if (!byName.has("model.json"))
    throw new TaggerError("That is another folder: choose the one that this page lies in.");
  return async (name) => {
    if (!byName.has(name)) throw new TaggerError(`The folder has no ${name}. Was all of it copied?`);
    return byName.get(name);
  };
}

function describe({ about, labels, rate }) {
  document.title = at("title-text").textContent = `Tag sound: ${about.title}`;
  const untrained = about.facts.weights === "synthetic" ? " Its weights are synthetic: it recognises nothing." : "";
  at("about").textContent =
    `${labels.length} classes, sound at ${rate / 1000} kHz; others are resampled by the browser.${untrained}`;
  at("licence").textContent = `Licence of the weights: ${about.facts.license}.`;
  for (const { file, name } of about.sounds) at("sound").append(new Option(name, file));
  for (const id of ["file", "microphone", "sound"]) at(id).disabled = false;
}

/** How many sounds have been given, the microphone's too: the answer to one that another has followed is not shown. */
let asked = 0;

/** Tags a Blob, and shows it with what it is. */
async function tagFile(blob, name) {
  await listening?.stop();
  const number = (asked += 1);
  if (blob.size > MOST_BYTES)
    throw new TaggerError(
      `${name} has ${Math.round(blob.size / 1e6)} MB; at most ${Math.round(MOST_BYTES / 1e6)} are read.`,
    );
  const tagger = await window.tagger;
  tell(`Tagging ${name} …`);
  const samples = await tagger.decode(await blob.arrayBuffer(), name);
  const answer = await tagger.tag(samples, name);
  if (number !== asked) return;
  URL.revokeObjectURL(at("player").src);
  at("player").src = URL.createObjectURL(blob);
  at("player").hidden = false;
  show(tagger, samples, answer);
  tell(`${name}: ${told(tagger, samples, answer)}`);
}

function told(tagger, samples, { top, milliseconds, windows }) {
  const seconds = `${(samples.length / tagger.rate).toFixed(2)} s of sound in ${Math.round(milliseconds)} ms`;
  const left = samples.length / tagger.rate - windows.at(-1)[1];
  const unused = left > 0 ? `, without the last ${left.toFixed(2)} s` : "";
  return top.length > 0
    ? `${seconds}${unused}. ${top[0].label}, ${top[0].probability.toFixed(2)}.`
    : `${seconds}${unused}.`;
}

function show(tagger, samples, answer) {
  shown = { tagger, samples, answer, spectrum: spectrumOf(tagger, samples, answer), lines: linesOf(tagger, answer) };
  at("result").hidden = false;
  const { top, windows } = answer;
  at("classes").hidden = top.length === 0;
  const each = windows[0][1] - windows[0][0];
  at("windows").textContent =
    windows.length > 1 ? `The mean of ${windows.length} windows of ${each.toFixed(2)} s.` : "";
  at("top").replaceChildren(...top.slice(0, MOST_SHOWN).map(row));
  const inModel = frontEnd(tagger) !== undefined;
  at("spectrum-caption").textContent = inModel
    ? "Log-mel spectrogram, as the network sees it"
    : "Spectrogram, for the eye alone: the network hears the waveform";
  at("over-time").hidden = shown.lines.length === 0;
  at("legend").replaceChildren(...shown.lines.map(({ label }) => element("li", "", element("canvas", ""), label)));
  draw();
}

function element(kind, name, ...content) {
  const made = document.createElement(kind);
  made.className = name;
  made.append(...content);
  return made;
}

function row({ label, probability }) {
  const filled = element("span", "");
  filled.style.width = `${100 * probability}%`;
  const bar = element("div", "bar", filled);
  bar.setAttribute("aria-hidden", "true");
  return element("li", "", element("span", "name", label), element("span", "number", probability.toFixed(3)), bar);
}

/** The output that is the front end's spectrogram, where the model gives it. */
const frontEnd = ({ about }) => about.outputs.find(({ name }) => name === about.front_end);

/** Frames in time by bands, of all windows, one after the other. */
function spectrumOf(tagger, samples, { outputs }) {
  const given = frontEnd(tagger);
  if (given === undefined) return spectrogram(samples);
  const time = given.axes.findLastIndex((axis) => typeof axis === "string");
  const timeIsLast = time === given.axes.length - 1;
  const bands = given.axes.at(timeIsLast ? -2 : -1);
  const columns = outputs.flatMap((output) => {
    const { shape, data } = output[given.name];
    const frames = Array.from({ length: shape[time] }, (_, frame) => frame);
    return frames.map((frame) => (band) => data[timeIsLast ? band * shape[time] + frame : frame * bands + band]);
  });
  return { frames: columns.length, bands, at: (frame, band) => columns[frame](band) };
}

/** Curves of the five likeliest classes: of frames where the model has them, else of windows where there are several. */
function linesOf({ about }, { top, outputs, scores, windows }) {
  const framewise = about.outputs.find(({ kind, axes }) => kind === "probability" && axes.length === 3);
  if (framewise === undefined && windows.length === 1) return [];
  return top.slice(0, 5).map(({ label, index }) => {
    if (framewise === undefined) return { label, values: scores.map((window) => window[index]), times: windows };
    const values = [];
    const times = [];
    outputs.forEach((output, place) => {
      const { shape, data } = output[framewise.name];
      const [from, to] = windows[place];
      for (let frame = 0; frame < shape[1]; frame += 1) {
        values.push(data[frame * shape[2] + index]);
        times.push([frame, frame + 1].map((edge) => from + ((to - from) * edge) / shape[1]));
      }
    });
    return { label, values, times };
  });
}

/** Again whenever the size or the colours change. */
function draw() {
  if (shown === null) return;
  const { tagger, samples, spectrum, lines } = shown;
  const seconds = samples.length / tagger.rate;
  drawWaveform(at("waveform"), samples);
  at("waveform").setAttribute("aria-label", `Waveform of ${seconds.toFixed(2)} s`);
  drawSpectrum(at("spectrum"), spectrum);
  if (lines.length === 0) return;
  drawCurves(at("curves"), lines, seconds);
  const peaks = lines.map(({ label, values }) => `${label}, at most ${Math.max(...values).toFixed(2)}`);
  at("curves").setAttribute("aria-label", `Probability over time: ${peaks.join("; ")}`);
  at("legend").querySelectorAll("canvas").forEach(drawKey);
}

/** The microphone while it is on: `stop()` ends it. */
let listening = null;

/** Tags the last seconds again and again, until it is stopped. */
async function listen() {
  const tagger = await window.tagger;
  if (navigator.mediaDevices === undefined) {
    throw new TaggerError(
      "Browsers give the microphone to pages on https and on localhost alone, and this page is on neither.",
    );
  }
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true }).catch((error) => {
    const reasons = {
      NotAllowedError: "The microphone was refused. Allow it for this page in the browser's settings.",
      NotFoundError: "There is no microphone. Connect one, or choose a file.",
    };
    throw new TaggerError(reasons[error.name] ?? `The microphone cannot be used: ${error.message}`);
  });
  asked += 1;
  // At its own rate: not every browser connects a microphone to a context of another.
  const context = new AudioContext();
  const recorder = new Blob([await tagger.read("recorder.js")], { type: "text/javascript" });
  await context.audioWorklet.addModule(URL.createObjectURL(recorder));
  const node = new AudioWorkletNode(context, "recorder");
  const most = Math.round((tagger.fixed === null ? LIVE_SECONDS : tagger.fixed / tagger.rate) * context.sampleRate);
  let blocks = [];
  let count = 0;
  node.port.onmessage = ({ data }) => {
    blocks.push(data);
    count += data.length;
    while (count - blocks[0].length >= most) count -= blocks.shift().length;
  };
  context.createMediaStreamSource(stream).connect(node);
  let on = true;
  const pause = () => new Promise((resolve) => setTimeout(resolve, 250));
  let said;
  const looping = (async () => {
    at("player").hidden = true;
    for (; on; await pause()) {
      const all = await resampled(blocks, count, context.sampleRate, tagger.rate);
      // Blocks are not cut: there may be a little more than one window.
      const heard = tagger.fixed === null ? all : all.slice(-tagger.fixed);
      // A file that is too short is told of; a microphone is waited for.
      if (heard.length < tagger.shortest) continue;
      const answer = await tagger.tag(heard, "The microphone");
      show(tagger, heard, answer);
      // Not each time: what is said here is read aloud.
      if (answer.top[0]?.label !== said || said === undefined) tell(`Listening: ${told(tagger, heard, answer)}`);
      said = answer.top[0]?.label;
    }
  })();
  listening = {
    async stop() {
      on = false;
      listening = null;
      at("microphone").setAttribute("aria-pressed", "false");
      at("microphone").textContent = "Use the microphone";
      for (const track of stream.getTracks()) track.stop();
      await looping.finally(() => context.close());
      tell("The microphone is off.");
    },
  };
  at("microphone").setAttribute("aria-pressed", "true");
  at("microphone").textContent = "Stop the microphone";
  tell("Listening …");
  looping.catch((error) => {
    listening?.stop().catch(() => {}); // It ends with the same error.
    attempt(() => Promise.reject(error));
  });
}

/** Blocks of mono sound in one, at another rate. */
async function resampled(blocks, count, from, to) {
  if (count === 0) return new Float32Array(0);
  const context = new OfflineAudioContext(1, Math.max(1, Math.round((count * to) / from)), to);
  const buffer = context.createBuffer(1, count, from);
  let place = 0;
  for (const block of blocks) {
    buffer.copyToChannel(block, 0, place);
    place += block.length;
  }
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}

at("file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  target.value = ""; // So that the same file may be chosen again.
  if (file) attempt(() => tagFile(file, file.name));
});
at("sound").addEventListener("change", ({ target }) => {
  const { value, selectedOptions } = target;
  if (value) attempt(async () => tagFile(await (await window.tagger).read(value), selectedOptions[0].text));
});
at("microphone").addEventListener("click", async ({ target }) => {
  target.disabled = true; // Until the person has answered the browser.
  await attempt(() => (listening ? listening.stop() : listen()));
  target.disabled = false;
});
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
}
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const [file] = event.dataTransfer.files;
  attempt(() => {
    if (!file) throw new TaggerError("That is no file. Drop a sound file.");
    return tagFile(file, file.name);
  });
});
window.addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

attempt(start);
