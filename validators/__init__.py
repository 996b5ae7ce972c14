"""Judges of artifacts: reference dumps, runners, comparison, rules. A validator never exports."""
