"""Feeds sound to a streaming file chunk by chunk, with NumPy alone: the padding, the state and the sound's end.

Made folders have it as `frontend/streaming.py`, and its numbers in `streaming.json` beside it:

    stream = Stream(run, json.loads(Path("streaming.json").read_text()))
    for samples in microphone:  # any number of them at a time
        for melspec in stream.feed(samples):
            ...  # (batch, n_mels, frames)
    for melspec in stream.finish():
        ...

`run` calls the file: (batch, chunk) and (batch, state) float32 to the frames and the next state; of a file that keeps
the state itself, `remembering(run)` makes such a `run`. One behind the other, what `feed` and `finish` give are the
frames of the whole sound.
"""

from collections.abc import Callable

import numpy as np

Run = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

# Steps of full scale 1, in which the level of a sound is taken off it.
LEVELS = 1024


class Stream:
    """A sound from its first sample on, (samples,) or (batch, samples) at the model's rate, full scale 1.

    `run` is given `dtype`, whatever real numbers the sound has. Raises ValueError for what is no such sound, where it
    goes on after its end, and at its end where it is too short for a frame.
    """

    def __init__(self, run: Run, numbers: dict, batch: int = 1, dtype: type | np.dtype = np.float32) -> None:
        self.run, self.numbers = run, numbers
        self.chunk, self.size = numbers["frames"] * numbers["hop"], numbers["window"] - numbers["hop"]
        self.heard, self.given = 0, 0
        self.begun = self.ended = False
        # Samples that are not fed yet, the last ones in case the sound ends, the one before those to come.
        self.waiting = self.last = self.before = np.zeros((batch, 0), dtype)
        if not numbers["first_dropped"]:
            self.before = np.zeros((batch, 1), dtype)
        self.state: np.ndarray | None = None
        self.level: np.ndarray | None = None

    def feed(self, samples: np.ndarray) -> list[np.ndarray]:
        """The frames that these samples complete, (batch, n_mels, frames) each; often none."""
        sound = np.atleast_2d(samples)
        if sound.dtype.kind != "f" or sound.ndim != 2 or len(sound) != len(self.waiting):
            shape = f"{sound.dtype} of shape {np.shape(samples)}"
            raise ValueError(f"samples are {shape}, not float32 (samples,) or ({len(self.waiting)}, samples)")
        sound = sound.astype(self.waiting.dtype, copy=False)
        if not np.isfinite(sound).all():
            raise ValueError("some samples are NaN or infinite")
        self._go_on()
        n = self.numbers
        self.heard += sound.shape[1]
        sound = self._emphasised(sound)
        self.waiting = np.concatenate([self.waiting, sound], axis=1)
        last = np.concatenate([self.last, sound], axis=1)
        self.last = last[:, max(0, last.shape[1] - n["back"] - 1) :]
        if not self.begun:
            # As many have to be there as are reflected, or left out.
            if self.waiting.shape[1] <= max(n["front"] if n["padding"] == "reflect" else 0, n["skipped"]):
                return []
            self.waiting = self._padded(self.waiting, n["front"], 0)[:, n["skipped"] :]
            self.waiting = np.concatenate([self.waiting[:, : n["led"]], self.waiting], axis=1)
            self.begun = True
        return self._frames(self.waiting.shape[1] - max(0, n["unread"] - n["back"]))

    def finish(self) -> list[np.ndarray]:
        """The last frames, which read what is put behind the sound; as `feed` gives them."""
        self._go_on()
        n = self.numbers
        samples = n["led"] + n["front"] - n["skipped"] + self.heard - n["first_dropped"] + n["back"] - n["unread"]
        frames = (samples - n["window"]) // n["hop"] + 1
        if self.heard < n["least"] or frames < 1:
            raise ValueError(f"the sound has {self.heard} samples; too few for a frame, which takes {n['least']}")
        calls = -(-(frames - self.given) // n["frames"])
        wanted = calls * self.chunk + (self.size if self.state is None else 0)
        behind = self._padded(self.last, 0, n["back"])[:, self.last.shape[1] :]
        rest = np.concatenate([self.waiting, behind], axis=1)[:, :wanted]
        # Zeros fill the last chunk: no frame that counts reads them.
        self.waiting = np.pad(rest, ((0, 0), (0, wanted - rest.shape[1])))
        found = self._frames(wanted)
        if surplus := self.given - frames:
            found[-1] = found[-1][:, :, :-surplus]
        self.ended = True
        return found

    def _go_on(self) -> None:
        if self.ended:
            raise ValueError("the sound has ended; another takes a Stream of its own")

    def _emphasised(self, sound: np.ndarray) -> np.ndarray:
        weight = self.numbers["emphasis"]
        if not weight:
            return sound
        whole = np.concatenate([self.before, sound], axis=1)
        self.before = whole[:, -1:]
        return whole[:, 1:] - weight * whole[:, :-1]

    def _padded(self, sound: np.ndarray, front: int, back: int) -> np.ndarray:
        kind = self.numbers["padding"]
        if kind == "none":
            return sound
        return np.pad(sound, ((0, 0), (front, back)), mode="edge" if kind == "replicate" else kind)

    def _frames(self, ready: int) -> list[np.ndarray]:
        """What so many of the waiting samples complete."""
        found: list[np.ndarray] = []
        start = 0
        if self.state is None:
            if ready < self.size + self.chunk:
                return found
            self.state, start = self._fed(0, self.size), self.size
        while start + self.chunk <= ready:
            melspec, self.state = self.run(self._fed(start, start + self.chunk), self.state)
            start += self.chunk
            self.given += melspec.shape[2]
            found.append(melspec)
        self.waiting = self.waiting[:, start:]
        return found

    def _fed(self, start: int, stop: int) -> np.ndarray:
        """Waiting samples, less the sound's level."""
        if self.level is None:
            mean = self.waiting[:, self.numbers["led"] : self.numbers["window"]].mean(axis=1, keepdims=True)
            self.level = np.round(mean * LEVELS) / LEVELS if self.numbers["levelled"] else 0 * mean
        return np.ascontiguousarray(self.waiting[:, start:stop] - self.level)


def remembering(run: Callable[[np.ndarray], np.ndarray]) -> Run:
    """What `Stream` calls, of a file that keeps the state itself, (batch, chunk) to the frames; for one sound.

    The first state is fed as sound is, behind zeros that fill whole chunks, and the frames of that are dropped. Then
    whatever the file has kept before is gone.
    """
    begun = False

    def call(chunk: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal begun
        if not begun:
            size = chunk.shape[1]
            before = np.pad(state, ((0, 0), (-state.shape[1] % size, 0)))
            for start in range(0, before.shape[1], size):
                run(np.ascontiguousarray(before[:, start : start + size]))
            begun = True
        return run(chunk), state

    return call
