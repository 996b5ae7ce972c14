from collections.abc import Callable

import pytest

from recipes.base import config
from recipes.mel.spec import Variant


@pytest.fixture(scope="session")
def numbered() -> Callable[..., Variant]:
    """`numbered("mel_kaldi", n_mels=40)`: a preset, or it with other numbers."""

    def get(preset: str = "mel_librosa", **numbers: object) -> Variant:
        found = config.with_numbers(config.find(preset), config.called(numbers))
        assert isinstance(found, Variant)
        return found

    return get
