"""Core ML: conversion, precision, pads, saved packages."""

from recipes.base.quiet import quiet

# coremltools says at import which of its optional parts are not there; none of them is needed to convert.
with quiet("coremltools"):
    import coremltools  # noqa: F401
