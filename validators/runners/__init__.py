"""Running an artifact: one module a runtime, all with the same face. A runner never compares."""
