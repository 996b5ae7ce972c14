"""Ops by the chapter of MIL's op reference that defines them, as the installed coremltools has it."""

from functools import cache

from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry


@cache
def family(chapter: str) -> frozenset[str]:
    """The names of all ops of a chapter, such as "activation" or "pool", of any op set."""
    return frozenset(
        name
        for name, versions in SSAOpRegistry.core_ops.items()
        if any(definition.__module__.endswith(f".{chapter}") for definition in versions.values())
    )
