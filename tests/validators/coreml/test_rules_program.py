"""What the checker reads beyond a flat list of ops, what it must not blame, and that its document says what it does."""

from pathlib import Path

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Program
from coremltools.models.utils import MultiFunctionDescriptor, save_multifunction

from validators.coreml import CoreMLModel, PackageError
from validators.coreml.rules import RULES, check_rules, programs, sizes
from validators.coreml.rules.sizes import possible, settings, shapes

DOCUMENT = Path(__file__).parents[3] / "docs" / "coreml-rules.md"
BAD_PAD = [1, 1, 0, 0, 0, 0]


def errors(package):
    return [(breach.rule, breach.op) for breach in check_rules(package) if breach.severity == "error"]


def test_the_shipped_package_breaks_no_rule(made_pann):
    found = check_rules(made_pann.mlpackage)
    assert {breach.severity for breach in found} == {"warning"}
    assert {breach.rule for breach in found} == {"gpu-dimension", "neural-engine-kernel", "neural-engine-flexible"}


@pytest.mark.parametrize("length", [9920, 20001])
def test_sizes_are_those_that_the_executor_sees(made_pann, length):
    (program,) = programs(made_pann.mlpackage)
    expected = shapes(program, {"waveform": (1, length)})
    named = {value.name: shape for value, shape in expected.items()}
    computed = CoreMLModel(made_pann.mlpackage).trace({"waveform": np.zeros((1, length), np.float32)})
    seen = {value.name: value.value.shape for value in computed}
    known = {name: shape for name, shape in seen.items() if None not in named[name]}
    assert {name: named[name] for name in known} == known
    assert len(known) > 0.9 * len(seen)


def test_the_ends_of_a_range_are_judged(made_pann):
    (program,) = programs(made_pann.mlpackage)
    assert [shape["waveform"] for shape in settings(program)] == [(1, 9920), (1, 1920000)]


def test_a_value_has_every_shape_that_a_setting_gives_it(made_pann):
    (program,) = programs(made_pann.mlpackage)
    cases = [shapes(program, inputs) for inputs in settings(program)]
    found = possible(program)
    assert {value: set(several) for value, several in found.items()} == {
        value: {case[value] for case in cases} for value in cases[0]
    }
    assert {len(several) for several in found.values()} == {1, 2}


def with_lengths(model, lengths):
    spec = model.get_spec()
    array = spec.description.input[0].type.multiArrayType
    for length in lengths:
        array.enumeratedShapes.shapes.add(shape=[1, length])
    for values in (spec.mlProgram.functions["main"].inputs, operations(spec)[-1].outputs):
        values[0].type.tensorType.dimensions[1].unknown.variadic = False
    return ct.models.MLModel(spec, skip_model_load=True, weights_dir=model.weights_dir)


def operations(spec):
    function = spec.mlProgram.functions["main"]
    return function.block_specializations[function.opset].operations


def test_a_large_program_is_tried_at_the_ends_of_its_shapes(make_model, monkeypatch):
    model = make_model(lambda x: mb.relu(x=x, name="y"), {"x": np.zeros((1, 4), np.float32)})
    (program,) = programs(with_lengths(model, [7, 4, 9, 300, 5, 6]))
    (y,) = program.outputs
    assert {length for _, length in possible(program)[y]} == {7, 4, 9, 300, 5, 6}
    monkeypatch.setattr(sizes, "_MOST_FOUND", 8)
    assert {length for _, length in possible(program)[y]} == {4, 5, 9, 300}


def test_no_more_shapes_are_tried_than_an_input_may_have(make_model):
    model = make_model(lambda x: mb.relu(x=x, name="y"), {"x": np.zeros((1, 4), np.float32)})
    (program,) = programs(with_lengths(model, range(1, 1000)))
    assert len(list(settings(program))) == 128


def branches(model, name):
    """The model with the results of its two branches called by this name, both."""
    spec = model.get_spec()
    (cond,) = (op for op in operations(spec) if op.type == "cond")
    for block in cond.blocks:
        old = block.outputs[0]
        for op in block.operations:
            for value in op.outputs:
                value.name = name if value.name == old else value.name
        block.outputs[0] = name
    return ct.models.MLModel(spec, skip_model_load=True, weights_dir=model.weights_dir)


def test_two_branches_may_call_their_values_alike_but_not_as_one_outside(make_model):
    def build(x, go):
        return mb.cond(
            pred=mb.cast(x=mb.squeeze(x=go), dtype="bool"),
            _true_fn=lambda: mb.mul(x=x, y=2.0),
            _false_fn=lambda: mb.add(x=x, y=5.0),
        )

    x = np.ones((1, 4), np.float32)
    model = make_model(build, {"x": x, "go": np.zeros(1, np.int32)})
    alike = CoreMLModel(branches(model, "alike"))
    for go, expected in ((0, 6), (1, 2)):
        (y,) = alike.predict({"x": x, "go": np.array([go], np.int32)}).values()
        np.testing.assert_array_equal(y, x * expected)
    with pytest.raises(PackageError, match="the value 'x' is made twice"):
        CoreMLModel(branches(model, "x"))


def test_a_breach_inside_a_nested_block(make_model):
    def build(x, go):
        return mb.cond(
            pred=mb.cast(x=mb.squeeze(x=go), dtype="bool"),
            _true_fn=lambda: mb.pad(x=x, pad=BAD_PAD, mode="reflect", name="inner"),
            _false_fn=lambda: mb.pad(x=x, pad=BAD_PAD, mode="constant"),
        )

    model = make_model(build, {"x": np.zeros((3, 4, 5), np.float32), "go": np.zeros(1, np.int32)})
    assert errors(model) == [("pad-dimensions", "inner")]


def test_a_value_of_a_loop_is_judged_by_its_declared_shape(make_model):
    def body(i, x):
        padded = mb.pad(x=x, pad=[4, 0], mode="reflect", name="inner")
        return mb.add(x=i, y=1), mb.slice_by_size(x=padded, begin=[0, 0], size=[1, 4])

    def build(x):
        _, result = mb.while_loop(_cond=lambda i, x: mb.less(x=i, y=2), _body=body, loop_vars=(0, x))
        return result

    model = make_model(build, {"x": np.zeros((1, 4), np.float32)})
    assert [rule for rule, _ in errors(model)] == ["pad-amount"]


def test_every_function_is_judged(make_model, tmp_path):
    arrays = {"x": np.zeros((3, 4, 5), np.float32)}
    descriptor = MultiFunctionDescriptor()
    for name, mode in (("fine", "constant"), ("broken", "reflect")):
        model = make_model(lambda x, mode=mode: mb.pad(x=x, pad=BAD_PAD, mode=mode, name="y"), arrays, "iOS18")
        model.save(str(tmp_path / f"{name}.mlpackage"))
        descriptor.add_function(str(tmp_path / f"{name}.mlpackage"), "main", name)
    descriptor.default_function_name = "fine"
    save_multifunction(descriptor, str(tmp_path / "both.mlpackage"))
    assert [program.function for program in programs(tmp_path / "both.mlpackage")] == ["broken", "fine"]
    assert errors(tmp_path / "both.mlpackage") == [("pad-dimensions", "y")]


def test_a_look_up_table_of_rank_six_is_no_tensor(make_model):
    def build(x):
        weight = mb.constexpr_lut_to_dense(
            indices=np.zeros((2, 1, 3, 3), np.uint8).astype(ct.converters.mil.mil.types.np_uint4_dtype),
            lut=np.zeros((1, 1, 1, 1, 16, 1), np.float32),
        )
        return mb.conv(x=x, weight=weight, pad_type="valid")

    assert errors(make_model(build, {"x": np.zeros((1, 1, 8, 8), np.float32)}, "iOS18")) == []


def test_errors_come_before_warnings(make_model):
    def build(x):
        wide = mb.conv(x=x, weight=np.ones((1, 1, 16), np.float32), pad_type="valid")
        return mb.pad(x=wide, pad=BAD_PAD, mode="reflect")

    found = check_rules(make_model(build, {"x": np.zeros((1, 1, 32), np.float32)}))
    assert [breach.severity for breach in found] == ["error", "error", "warning"]


def test_a_value_that_nobody_makes(make_model):
    model = make_model(lambda x: mb.relu(x=x, name="y"), {"x": np.zeros((1, 4), np.float32)})
    spec = model.get_spec()
    function = spec.mlProgram.functions["main"]
    function.block_specializations[function.opset].operations[0].inputs["x"].arguments[0].name = "nobody"
    with pytest.raises(PackageError, match="relu reads the value 'nobody', which nothing before it makes"):
        check_rules(ct.models.MLModel(spec, skip_model_load=True, weights_dir=model.weights_dir))


def test_a_function_without_its_block(make_model):
    model = make_model(lambda x: mb.relu(x=x), {"x": np.zeros((1, 4), np.float32)})
    spec = model.get_spec()
    spec.mlProgram.functions["main"].opset = "CoreML5"
    with pytest.raises(PackageError, match="has no block for its op set 'CoreML5'"):
        check_rules(ct.models.MLModel(spec, skip_model_load=True, weights_dir=model.weights_dir))


def test_what_is_no_ml_program():
    program = Program()
    with Function({"x": mb.placeholder(shape=(1, 4))}) as function:
        function.set_outputs([mb.relu(x=function.inputs["x"])])
        program.add_function("main", function)
    with pytest.raises(PackageError, match="not an ML program"):
        check_rules(ct.convert(program, convert_to="neuralnetwork", skip_model_load=True))


def test_what_is_no_package(tmp_path):
    with pytest.raises(PackageError, match="no such file"):
        check_rules(tmp_path / "none.mlpackage")


def test_the_document_lists_every_rule():
    """Held line by line; a rule that changes must change there too."""
    rows = [
        f"| `{rule.name}` | {rule.severity} | {rule.why} | {rule.fix} | {rule.source} |"
        for severity in ("error", "warning")
        for rule in RULES.values()
        if rule.severity == severity
    ]
    written = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert written == rows
