"""The lowered form as tract 0.23 is fast with: exact, and slower in ONNX Runtime, which is why it is asked for."""

from exporters.lowering.orders import hold_orders
from exporters.lowering.shipped import Shipped
from exporters.lowering.strides import strides_behind


def for_tract(module: Shipped) -> tuple[Shipped, tuple[str, ...]]:
    """The module to export, and what was done to make it; the given one where nothing is to gain."""
    module, strided = strides_behind(module)
    module, turned = hold_orders(module)
    return module, (*(f"stride behind {place}" for place in strided), *(f"order held at {place}" for place in turned))
