"use strict";

/** What a person can understand and put right. */
class TaggerError extends Error {}

/**
 * A model and what it says of itself, run by ONNX Runtime Web in a worker, so that the page stays awake.
 *
 *     const tagger = await Tagger.open("web/");
 *     const samples = await tagger.decode(await file.arrayBuffer(), file.name);
 *     const { top, milliseconds } = await tagger.tag(samples);
 */
class Tagger {
  /**
   * The model of a folder: of its address, or of a function from a file's name to a promise of its Blob.
   * Throws a TaggerError for a browser that cannot run it, and for a file that is missing.
   */
  static async open(folder) {
    if (!hasSimd()) {
      throw new TaggerError(
        "This browser has no WebAssembly SIMD, which the model needs. Any browser since 2023 has it: update this one.",
      );
    }
    const read =
      typeof folder === "function" ? folder : (name) => fetched(new URL(name, new URL(folder, document.baseURI)));
    const [about, model, wasm, loader, ...scripts] = await Promise.all(
      [
        "model.json",
        "model.onnx",
        "ort/ort-wasm-simd-threaded.wasm",
        "ort/ort-wasm-simd-threaded.mjs",
        "ort/ort.wasm.min.js",
        "worker.js",
      ].map(read),
    );
    const tagger = new Tagger(JSON.parse(await about.text()), read);
    tagger.#start(scripts);
    const binary = await wasm.arrayBuffer();
    const bytes = await model.arrayBuffer();
    tagger.ports = await tagger.#ask("open", { loader, wasm: binary, model: bytes }, [binary, bytes]);
    return tagger;
  }

  #worker;
  #waiting = new Map();
  #asked = 0;

  constructor(about, read) {
    this.about = about;
    this.read = read;
    this.labels = JSON.parse(about.facts.labels);
    this.rate = Number(about.facts.sample_rate);
    this.least = Number(about.facts.least_size);
    this.fixed = about.input.size; // null where it takes any length
    // Only what the model's authors pad may be shorter than the one length that it takes.
    this.shortest = about.facts.peak !== undefined ? 1 : (this.fixed ?? this.least);
  }

  /**
   * Outputs by name, each `{ shape, data }` with a Float32Array in C order, of inputs of the same form. `milliseconds`
   * are those of the model alone.
   */
  async run(inputs) {
    return this.#ask("run", inputs, []);
  }

  /**
   * A sound file's bytes as mono samples at the model's rate, full scale 1: decoded and resampled by the browser's own
   * OfflineAudioContext, channels averaged. `name` is for messages.
   */
  async decode(bytes, name = "The sound") {
    let sound;
    try {
      sound = await new OfflineAudioContext(1, 1, this.rate).decodeAudioData(bytes);
    } catch {
      throw new TaggerError(`${name} is no sound that this browser can read. Try a WAV, FLAC, MP3 or Ogg file.`);
    }
    const mono = new Float32Array(sound.length);
    for (let channel = 0; channel < sound.numberOfChannels; channel += 1) {
      sound.getChannelData(channel).forEach((sample, index) => (mono[index] += sample / sound.numberOfChannels));
    }
    return mono;
  }

  /**
   * The classes of mono samples at the model's rate, the likeliest first, as `top`: `{ label, index, probability }`.
   * `outputs` are those of each window as `run` gives them, `windows` where they begin and end, in seconds; `scores` are
   * each window's probabilities. Throws a TaggerError for a sound that is too short, and for samples that are no numbers.
   */
  async tag(samples, name = "The sound") {
    if (!samples.every(Number.isFinite)) throw new TaggerError(`${name} holds samples that are no numbers.`);
    const spans = this.#spans(samples.length);
    if (spans.length === 0) {
      const needed = (this.shortest / this.rate).toPrecision(3);
      const length = (samples.length / this.rate).toFixed(2);
      throw new TaggerError(`${name} is ${length} s long, which is too short: the model needs ${Number(needed)} s.`);
    }
    const { peak } = this.about.facts;
    const fed = peak === undefined ? samples : normalised(samples, Number(peak));
    const shape = this.about.input.between;
    const outputs = [];
    let milliseconds = 0;
    for (const [start, end] of spans) {
      const data = new Float32Array(this.fixed ?? end - start);
      data.set(fed.subarray(start, end));
      const answer = await this.run({ [this.about.input.name]: { shape: [1, ...shape, data.length], data } });
      outputs.push(answer.outputs);
      milliseconds += answer.milliseconds;
    }
    const scores = this.about.facts.scores === undefined ? [] : outputs.map((output) => this.probabilities(output));
    const windows = spans.map((span) => span.map((sample) => sample / this.rate));
    return { top: this.#ranked(scores), scores, outputs, windows, milliseconds };
  }

  /** The probability of each class, of what the model answered to one window. */
  probabilities(outputs) {
    const { data } = outputs[this.about.facts.scores];
    if (this.about.facts.scores_kind === "probability") return data;
    if (this.about.facts.scores_kind === "logit") return data.map((score) => 1 / (1 + Math.exp(-score)));
    const greatest = data.reduce((one, other) => Math.max(one, other));
    const odds = data.map((score) => Math.exp(score - greatest));
    const sum = odds.reduce((one, other) => one + other);
    return odds.map((value) => value / sum);
  }

  /** By the mean over all windows, which weigh the same. */
  #ranked(scores) {
    if (scores.length === 0) return [];
    return this.labels
      .map((label, index) => ({ label, index, probability: mean(scores.map((window) => window[index])) }))
      .sort((one, other) => other.probability - one.probability);
  }

  /**
   * The samples at which windows begin and end, one after the other: of the model's length where it takes one alone, else
   * the whole sound, or so many samples as are usual at a time where it is longer than the model takes at once.
   */
  #spans(length) {
    const { most, default: usual } = this.about.input;
    const size = length > most ? usual : (this.fixed ?? length);
    const spans = [];
    for (let start = 0; start < length; start += size) {
      if (Math.min(size, length - start) >= this.shortest) spans.push([start, Math.min(start + size, length)]);
    }
    return spans;
  }

  #start(scripts) {
    const address = URL.createObjectURL(
      new Blob(
        scripts.flatMap((script) => [script, "\n"]),
        { type: "text/javascript" },
      ),
    );
    this.#worker = new Worker(address);
    this.#worker.onmessage = ({ data }) => {
      const { resolve, reject } = this.#waiting.get(data.number);
      this.#waiting.delete(data.number);
      if (data.error === undefined) resolve(data.answer);
      else reject(new TaggerError(`The model failed: ${data.error}`));
    };
    this.#worker.onerror = (event) => {
      for (const { reject } of this.#waiting.values()) reject(new TaggerError(`The model failed: ${event.message}`));
      this.#waiting.clear();
    };
  }

  #ask(what, content, moved) {
    const number = (this.#asked += 1);
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      this.#worker.postMessage({ number, what, content }, moved);
    });
  }
}

/** Whether the browser takes the smallest module with a SIMD instruction: a vector of zeros, dropped. */
function hasSimd() {
  const header = [0, 97, 115, 109, 1, 0, 0, 0];
  const types = [1, 4, 1, 96, 0, 0];
  const functions = [3, 2, 1, 0];
  const code = [10, 23, 1, 21, 0, 253, 12, ...new Array(16).fill(0), 26, 11];
  return (
    typeof WebAssembly === "object" &&
    WebAssembly.validate(new Uint8Array([...header, ...types, ...functions, ...code]))
  );
}

async function fetched(address) {
  let answer;
  try {
    answer = await fetch(address);
  } catch {
    throw new TaggerError(`${address} cannot be reached. Is the server that gave this page still there?`);
  }
  if (!answer.ok) throw new TaggerError(`${address} is missing: the server said ${answer.status}.`);
  return answer.blob();
}

function mean(values) {
  return values.reduce((one, other) => one + other, 0) / values.length;
}

/** With `peak` as the greatest magnitude; silence stays silence. */
function normalised(samples, peak) {
  const greatest = samples.reduce((one, other) => Math.max(one, Math.abs(other)), 0);
  return greatest === 0 ? samples : samples.map((sample) => (sample / greatest) * peak);
}
