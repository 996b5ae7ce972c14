"""The lowered form as tract 0.23 is fast with: exact, and slower in ONNX Runtime, which is why it is asked for."""

from exporters.lowering import Applied
from exporters.lowering.orders import hold_orders
from exporters.lowering.rows import reshape_rows
from exporters.lowering.shipped import Shipped
from exporters.lowering.strides import strides_behind


def for_tract(module: Shipped) -> tuple[Shipped, tuple[Applied, ...]]:
    """The module to export, and what was done to make it; the given one where nothing is to gain."""
    module, strided = strides_behind(module)
    module, turned = hold_orders(module)
    module, reshaped = reshape_rows(module)
    done = {"strides-behind": strided, "hold-orders": turned, "reshape-rows": reshaped}
    return module, tuple(Applied(rewrite, place) for rewrite, places in done.items() for place in places)
