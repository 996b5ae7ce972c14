"""A Swift package around a Core ML model: what apps call, and a test that holds it to the reference; docs/swift.md."""
