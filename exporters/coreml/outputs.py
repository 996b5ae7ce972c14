"""Outputs that only the conversion needs, taken off the program again."""

from collections.abc import Collection

import coremltools as ct
from coremltools.converters.mil.mil import Program
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.converters.mil.mil.passes.pass_registry import register_pass

_NAME = "soundport::without_outputs"


@register_pass(namespace="soundport")
class without_outputs(AbstractGraphPass):  # noqa: N801, what coremltools calls it by
    """Takes outputs off; later passes take out what nothing else reads."""

    names: str = ""

    def apply(self, prog: Program) -> None:
        main = prog.functions["main"]
        left = [
            (value, kind)
            for value, kind in zip(main.outputs, main.output_types, strict=True)
            if value.name not in self.names.split(",")
        ]
        main.set_outputs([value for value, _ in left])
        main.set_output_types([kind for _, kind in left])


def without(names: Collection[str], passes: ct.PassPipeline) -> ct.PassPipeline:
    """The passes, which take the outputs of these names off once each operation has its precision."""
    if names:
        passes.insert_pass(passes.passes.index("common::add_fp16_cast") + 1, _NAME)
        passes.set_options(_NAME, {"names": ",".join(names)})
    return passes
