"""The handlers are there for the length of a conversion and gone afterwards."""

import pytest
import torch
import torch.nn.functional as F
from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY

from exporters.coreml.pads import PadError, installed
from recipes.base.spec import PadOverride


def registry():
    return list(_TORCH_OPS_REGISTRY.name_to_func_mapping.items())


def test_the_registry_comes_back(convert, frontend):
    before = registry()
    convert(lambda x: F.pad(x, (1, 1), mode="circular"), torch.randn(1, 2, 5), frontend)
    assert registry() == before


def test_the_registry_differs_inside():
    before = dict(registry())
    with installed():
        inside = dict(registry())
    changed = {kind for kind in inside if inside[kind] is not before.get(kind)}
    assert {"pad", "constant_pad_nd", "reflection_pad3d", "replication_pad3d", "avg_pool1d", "avg_pool3d"} <= changed
    assert all("pad" in kind or "avg_pool" in kind for kind in changed)


def test_the_registry_comes_back_after_an_error():
    before = registry()
    with pytest.raises(ZeroDivisionError), installed():
        raise ZeroDivisionError
    assert registry() == before
    unmatched = pytest.raises(PadError, match=r"'pad_7' matches no pad node; the pad nodes are: \(none\)")
    with unmatched, installed({"pad_7": PadOverride(mode="reflect")}):
        pass
    assert registry() == before


def test_the_registry_comes_back_after_a_failed_conversion(convert):
    before = registry()
    with pytest.raises(PadError, match="lower bound"):
        convert(lambda x: F.pad(x, (6, 6), mode="reflect"), torch.randn(1, 11), "traced", flexible={1: (4, 40)})
    assert registry() == before


def test_an_error_inside_is_not_replaced_by_the_unmatched_override():
    with pytest.raises(ZeroDivisionError), installed({"pad_7": PadOverride(mode="reflect")}):
        raise ZeroDivisionError


def test_blocks_nest():
    before = registry()
    with installed():
        outer = registry()
        with installed():
            assert registry() != outer
        assert registry() == outer
    assert registry() == before


def test_other_operators_registered_inside_stay():
    with installed():
        _TORCH_OPS_REGISTRY.name_to_func_mapping["a_new_operator"] = registry
    assert _TORCH_OPS_REGISTRY.name_to_func_mapping.pop("a_new_operator") is registry
