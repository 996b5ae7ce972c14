"""How each pad and average pooling of a PyTorch model is written in Core ML, decided node by node.

with installed(variant.coreml.pads) as decisions:
    model = ct.convert(exported, ..., pass_pipeline=graph_passes())
for decision in decisions:
    print(decision)
"""

from exporters.coreml.pads.install import Decision, graph_passes, installed
from exporters.coreml.pads.lowering import HANDLERS, Handler, Step, plan
from exporters.coreml.pads.node import MODES, PadError, PadNode

__all__ = [
    "HANDLERS",
    "MODES",
    "Decision",
    "Handler",
    "PadError",
    "PadNode",
    "Step",
    "graph_passes",
    "installed",
    "plan",
]
