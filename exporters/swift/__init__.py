"""A Swift package around a Core ML model: what apps call, and a test that holds it to the reference; docs/swift.md."""

from pathlib import Path

# Of the package: its own files here, and where the model and its facts lie in a made one.
PACKAGE = Path(__file__).parent / "package"
RESOURCES = "Sources/SoundTagger/Model"

# The program that tags the files it is given, which is how an app does it too.
COMMAND = "Sources/tag/Tag.swift"
