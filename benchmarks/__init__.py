"""Speed, as ratios measured side by side: `make bench` writes `results.md`, `results.json` and the charts."""

import os

# Read when the library is loaded: nothing but what is measured is to run beside it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
