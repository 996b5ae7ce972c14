"""What a model computes on the way, whatever format it is in: every op with its results, as plain data."""

from validators.traces.parameters import Parameter, brief
from validators.traces.trace import Op, Trace

__all__ = ["Op", "Parameter", "Trace", "brief"]
