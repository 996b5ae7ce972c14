"use strict";

// What the page draws, each on a canvas of its own, sharp on any screen. Colours are the style sheet's.

/** The canvas's context, scaled so that one unit is one pixel of the page, its size, and a look-up of colours. */
function begun(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const style = getComputedStyle(canvas);
  return { context, width, height, colour: (name) => style.getPropertyValue(name).trim() };
}

/** The range of each column's samples, as a bar. */
function drawWaveform(canvas, samples) {
  const { context, width, height, colour } = begun(canvas);
  context.fillStyle = colour("--wave");
  const greatest = samples.reduce((one, sample) => Math.max(one, Math.abs(sample)), 0) || 1;
  for (let column = 0; column < width; column += 1) {
    let least = Infinity;
    let most = -Infinity;
    const start = Math.floor((column * samples.length) / width);
    const end = Math.max(start + 1, Math.floor(((column + 1) * samples.length) / width));
    for (let index = start; index < Math.min(end, samples.length); index += 1) {
      least = Math.min(least, samples[index]);
      most = Math.max(most, samples[index]);
    }
    const top = (0.5 - (0.48 * most) / greatest) * height;
    const bottom = (0.5 - (0.48 * least) / greatest) * height;
    context.fillRect(column, top, 1, Math.max(1, bottom - top));
  }
}

// From dark to light, evenly to the eye and to the colour-blind: nine steps of matplotlib's "magma" (CC0).
const STEPS = [0x000004, 0x1d1147, 0x51127c, 0x832681, 0xb73779, 0xe75263, 0xfc8961, 0xfec488, 0xfcfdbf].map(
  (colour) => [colour >> 16, (colour >> 8) & 255, colour & 255],
);

/** A value from 0 to 1 as red, green and blue. */
function shade(value) {
  const place = Math.min(Math.max(value, 0), 1) * (STEPS.length - 1);
  const below = Math.min(Math.floor(place), STEPS.length - 2);
  return STEPS[below].map((from, index) => from + (STEPS[below + 1][index] - from) * (place - below));
}

/** `at(frame, band)` over time and, upwards, over bands. The faintest hundredth of the values is the darkest. */
function drawSpectrum(canvas, { frames, bands, at }) {
  const values = Float32Array.from({ length: frames * bands }, (_, index) =>
    at(Math.floor(index / bands), index % bands),
  );
  const sorted = values.slice().sort();
  const least = sorted[Math.floor(sorted.length / 100)];
  const range = sorted[sorted.length - 1] - least || 1;
  const picture = new ImageData(frames, bands);
  values.forEach((value, index) => {
    const row = bands - 1 - (index % bands);
    const pixel = 4 * (row * frames + Math.floor(index / bands));
    picture.data.set([...shade((value - least) / range), 255], pixel);
  });
  const whole = Object.assign(document.createElement("canvas"), { width: frames, height: bands });
  whole.getContext("2d").putImageData(picture, 0, 0);
  const { context, width, height } = begun(canvas);
  context.drawImage(whole, 0, 0, width, height);
}

// A class has its dashes as well as its colour.
const DASHES = [[], [8, 4], [2, 3], [12, 3, 2, 3], [5, 2]];

/** Each of `lines` over a sound of so many seconds: `values` from 0 to 1, and of each the `times` from and to which it holds. */
function drawCurves(canvas, lines, seconds) {
  const { context, width, height, colour } = begun(canvas);
  const margin = { left: 30, bottom: 20, top: 6, right: 6 };
  const x = (second) => margin.left + (second / seconds) * (width - margin.left - margin.right);
  const y = (value) => margin.top + (1 - value) * (height - margin.top - margin.bottom);
  context.font = `12px ${getComputedStyle(canvas).fontFamily}`;
  context.fillStyle = colour("--quiet");
  context.strokeStyle = colour("--line");
  context.textBaseline = "middle";
  for (const value of [0, 0.5, 1]) {
    context.fillText(String(value), 2, y(value));
    context.beginPath();
    context.moveTo(margin.left, y(value));
    context.lineTo(width - margin.right, y(value));
    context.stroke();
  }
  context.textBaseline = "alphabetic";
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 600].find((size) => seconds / size <= 6) ?? 1800;
  for (let second = 0; second <= seconds; second += step) {
    const text = `${Number(second.toFixed(1))} s`;
    const place = x(second) - (second === 0 ? 0 : context.measureText(text).width / 2);
    context.fillText(text, Math.min(place, width - context.measureText(text).width), height - 4);
  }
  context.lineWidth = 2;
  lines.forEach(({ values, times }, index) => {
    context.strokeStyle = colour(`--curve-${index + 1}`);
    context.setLineDash(DASHES[index]);
    context.beginPath();
    values.forEach((value, place) => {
      context.lineTo(x(times[place][0]), y(value));
      context.lineTo(x(times[place][1]), y(value));
    });
    context.stroke();
  });
}

/** Where a model gives no spectrogram of its own: power in dB of Hann windows, for the eye alone. */
function spectrogram(samples) {
  const size = 512;
  const bands = size / 2;
  const frames = Math.max(1, Math.min(1000, Math.floor(samples.length / (size / 2))));
  const step = Math.max(0, samples.length - size) / Math.max(1, frames - 1);
  const window = Float64Array.from({ length: size }, (_, index) => 0.5 - 0.5 * Math.cos((2 * Math.PI * index) / size));
  const powers = Array.from({ length: frames }, (_, frame) => {
    const start = Math.round(frame * step);
    const real = window.map((weight, index) => weight * (samples[start + index] ?? 0));
    const imaginary = new Float64Array(size);
    transform(real, imaginary);
    return real.slice(0, bands).map((value, band) => 10 * Math.log10(value ** 2 + imaginary[band] ** 2 + 1e-10));
  });
  return { frames, bands, at: (frame, band) => powers[frame][band] };
}

/** The discrete Fourier transform in place, of a power of two (Cooley and Tukey 1965). */
function transform(real, imaginary) {
  const size = real.length;
  for (let index = 1, mirrored = 0; index < size; index += 1) {
    let bit = size >> 1;
    for (; mirrored & bit; bit >>= 1) mirrored ^= bit;
    mirrored ^= bit;
    if (index < mirrored) [real[index], real[mirrored]] = [real[mirrored], real[index]];
  }
  for (let length = 2; length <= size; length *= 2) {
    for (let start = 0; start < size; start += length) {
      for (let offset = 0; offset < length / 2; offset += 1) {
        const angle = (-2 * Math.PI * offset) / length;
        const [low, high] = [start + offset, start + offset + length / 2];
        const a = real[high] * Math.cos(angle) - imaginary[high] * Math.sin(angle);
        const b = real[high] * Math.sin(angle) + imaginary[high] * Math.cos(angle);
        [real[high], imaginary[high]] = [real[low] - a, imaginary[low] - b];
        [real[low], imaginary[low]] = [real[low] + a, imaginary[low] + b];
      }
    }
  }
}

/** A piece of the line of that number, for the legend. */
function drawKey(canvas, index) {
  const { context, width, height, colour } = begun(canvas);
  context.lineWidth = 2;
  context.strokeStyle = colour(`--curve-${index + 1}`);
  context.setLineDash(DASHES[index]);
  context.moveTo(0, height / 2);
  context.lineTo(width, height / 2);
  context.stroke();
}
