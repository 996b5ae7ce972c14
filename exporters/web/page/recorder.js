"use strict";

// Hands over what the microphone hears, channels averaged, block by block.
class Recorder extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length > 0) {
      const mono = channels[0].map((_, index) => channels.reduce((sum, own) => sum + own[index], 0) / channels.length);
      this.port.postMessage(mono, [mono.buffer]);
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
