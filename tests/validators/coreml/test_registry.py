import pytest

from validators.coreml import kernels, registry


@pytest.fixture
def scratch(monkeypatch):
    """A registry of its own, so that nothing leaks into the real one."""
    monkeypatch.setattr(registry, "_KERNELS", {})


def test_the_newest_kernel_not_newer_than_the_op_set_is_taken(scratch):
    @registry.kernel("op", opset="iOS17")
    def newer():
        pass

    @registry.kernel("op")
    def older():
        pass

    chosen = {opset: registry.lookup("op", opset).run for opset in registry.OPSETS}
    assert chosen == {"iOS15": older, "iOS16": older, "iOS17": newer, "iOS18": newer}


def test_an_op_that_a_later_op_set_brings_is_missing_before(scratch):
    registry.kernel("op", opset="iOS17")(lambda: None)
    assert registry.lookup("op", "iOS16") is None
    assert registry.lookup("other", "iOS18") is None


def test_a_pair_is_registered_once(scratch):
    registry.kernel("op")(lambda: None)
    with pytest.raises(ValueError, match="already has a kernel for op set iOS15"):
        registry.kernel("op")(lambda: None)


def test_an_unknown_op_set_is_refused(scratch):
    with pytest.raises(ValueError, match="'iOS14' is unknown"):
        registry.kernel("op", opset="iOS14")


def test_every_group_is_imported():
    assert {"control_flow", "recurrent", "states", "compression"} <= set(kernels.GROUPS)
