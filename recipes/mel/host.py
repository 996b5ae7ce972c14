"""The front end as data, for hosts that compute it themselves."""

from importlib import resources

import numpy as np

from recipes.base.recipe import HostFrontEnd
from recipes.mel import constants
from recipes.mel.spec import Variant

PROGRAM = "melspec.py"


def front_end(variant: Variant) -> HostFrontEnd:
    """Window, times `input_scale`, and mel bank (n_mels, n_fft // 2 + 1); all numbers, none of them left open."""
    numbers = variant.front_end
    return HostFrontEnd(
        arrays={
            "window.npy": constants.window(numbers).astype(np.float32),
            "mel.npy": constants.bank(variant),
        },
        numbers={
            **variant.front_end_numbers(),
            "win_length": numbers.taps,
            "fmax": numbers.highest(variant.sample_rate),
            "least_samples": numbers.least_samples,
            "layout": "melspec: (batch, n_mels, frames)",
        },
        program_file=PROGRAM,
        program=resources.files("recipes.mel").joinpath(PROGRAM).read_text(encoding="utf-8"),
    )
