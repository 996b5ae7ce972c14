"use strict";

// Runs the model. The page puts ONNX Runtime's own script before this one: `ort` is there.
let session;

const answers = {
  async open({ loader, wasm, model }) {
    // Threads share memory, which browsers allow only to pages whose server sends COOP and COEP.
    ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
    // A page that was opened as a file has no origin, and its worker may import only what it has made itself.
    ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([loader], { type: "text/javascript" })) };
    ort.env.wasm.wasmBinary = wasm;
    session = await ort.InferenceSession.create(new Uint8Array(model), {
      executionProviders: ["wasm"],
      logSeverityLevel: 4, // What it would log of an error, it throws as well.
    });
    const port = ({ name, type, shape }) => ({ name, type, shape });
    return {
      inputs: session.inputMetadata.map(port),
      outputs: session.outputMetadata.map(port),
      threads: ort.env.wasm.numThreads,
    };
  },

  async run(inputs) {
    const fed = Object.fromEntries(
      Object.entries(inputs).map(([name, { shape, data }]) => [name, new ort.Tensor("float32", data, shape)]),
    );
    const start = performance.now();
    const answer = await session.run(fed);
    const milliseconds = performance.now() - start;
    const outputs = Object.fromEntries(
      Object.entries(answer).map(([name, { dims, data }]) => [name, { shape: [...dims], data }]),
    );
    return { outputs, milliseconds };
  },
};

self.onmessage = async ({ data: { number, what, content } }) => {
  try {
    self.postMessage({ number, answer: await answers[what](content) });
  } catch (error) {
    self.postMessage({ number, error: String(error?.message ?? error) });
  }
};
