"""The faithful model's answers to a set of sounds, as files: `reference.json` and the WAVs in `reference/`."""

from validators.reference.cases import SoundCase, built_in, from_audio
from validators.reference.dump import header, write
from validators.reference.format import Header
from validators.reference.load import Reference, ReferenceCase, read

__all__ = ["Header", "Reference", "ReferenceCase", "SoundCase", "built_in", "from_audio", "header", "read", "write"]
