"""A program as C: `model.c` and `model.h`."""

from __future__ import annotations

from exporters.c.program import Buffer, Program, Shape
from exporters.c.sizes import Size


def source(program: Program, name: str, tensor: str, outputs: dict[str, Shape], least: int, most: int) -> str:
    """`model.c`: functions called after `name`, of a model that is fed `tensor`."""
    lives = program.lives()
    planned = [buffer for buffer in program.buffers if buffer in lives]
    fixed = least == most
    lines = [
        "/* Generated; model.h says how it is used. */",
        '#include "model.h"',
        "",
        '#include "kernels/kernels.h"',
        "",
        "#include <math.h>",
        "",
        "/* What follows from the length of the input. */",
        "struct sizes {",
        "    size_t length;",
        *(f"    size_t {text.removeprefix('size.')};" for text in program.sizes.floors),
        "};",
        "",
        "static struct sizes sizes_of(size_t length)",
        "{",
        "    struct sizes size;",
        "    size.length = length;",
        *(f"    {text} = {value.text()} / {by};" for text, (value, by) in program.sizes.floors.items()),
        "    return size;",
        "}",
        "",
        "/* The arrays in between: bytes, and the first and the last step that need them. */",
        "enum { " + ", ".join([*(f"AT_{buffer.name}" for buffer in planned), "ARRAYS"]) + " };",
        "",
        "static uint64_t plan(struct sizes size, struct buffer buffers[ARRAYS])",
        "{",
        "    uint32_t order[ARRAYS];",
        "    (void)size;",
        *(
            f"    buffers[AT_{buffer.name}] = (struct buffer){{{_bytes(buffer.size)}, {first}, {last}, 0}};"
            for buffer, (first, last) in ((buffer, lives[buffer]) for buffer in planned)
        ),
        "    return sp_plan_memory(buffers, order, ARRAYS);",
        "}",
        "",
        f"size_t {name}_memory(size_t length)",
        "{",
        "    struct buffer buffers[ARRAYS];",
        f"    if ({_outside(least, most)})",
        "        return 0;",
        "    uint64_t bytes = plan(sizes_of(length), buffers);",
        "    return bytes > SIZE_MAX ? 0 : (size_t)bytes;",
        "}",
    ]
    for output, shape in outputs.items():
        for axis, size in enumerate(shape):
            if size.number is None:
                lines += [
                    "",
                    f"size_t {name}_{output}_{axis}(size_t length)",
                    "{",
                    "    const struct sizes size = sizes_of(length);",
                    f"    return {size.text()};",
                    "}",
                ]
    arguments = ", ".join(f"float *{output}" for output in outputs)
    lines += [
        "",
        f"int {name}_run(const float *weights, const float *{tensor}, size_t length, void *memory, {arguments})",
        "{",
        f"    if ({_outside(least, most)})",
        "        return -1;",
        "    const struct sizes size = sizes_of(length);",
        "    const struct simd *const simd = sp_simd_here();",
        "    struct buffer buffers[ARRAYS];",
        "    plan(size, buffers);",
        "    char *const bytes = memory;",
        "    (void)size;",
        "    (void)simd;",
    ]
    declared: set[Buffer] = set()
    for buffer in program.buffers:
        lines += _declared(buffer, declared, lives)
    for step in program.steps:
        lines += ["", f"    /* {step.title} */", "    {", *(f"        {line}" for line in step.lines), "    }"]
    lines += ["    return 0;", "}", ""]
    return "\n".join(lines)


def _outside(least: int, most: int) -> str:
    return f"length != {least}" if least == most else f"length < {least} || length > {most}"


def _bytes(size: Size) -> str:
    """In 64 bits, also where size_t has 32."""
    words = []
    for names, factor in size.terms:
        product = " * ".join([f"UINT64_C({abs(factor) * 4})", *names])
        words.append(("- " if factor < 0 else "+ ") + product)
    words.sort(key=lambda word: word.startswith("-"))
    return " ".join(words).removeprefix("+ ")


def _declared(buffer: Buffer, declared: set[Buffer], lives: dict[Buffer, tuple[int, int]]) -> list[str]:
    """The pointer to a buffer, after the one to what it is a part of."""
    if buffer in declared or buffer.given or buffer.whole() not in lives:
        return []
    declared.add(buffer)
    if buffer.parent is None:
        return [f"    float *const {buffer.name} = (float *)(bytes + buffers[AT_{buffer.name}].offset);"]
    start = "" if buffer.start.number == 0 else f" + {buffer.start.text()}"
    return [
        *_declared(buffer.parent, declared, lives),
        f"    float *const {buffer.name} = {buffer.parent.name}{start};",
    ]
