"""A PANN configuration says nothing beyond the common keys."""

from recipes.base.spec import LogMel, Variant

__all__ = ["LogMel", "Variant"]
