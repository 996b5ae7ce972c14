"""Speed, as ratios against the naive way, measured side by side in one run: `make bench`."""
