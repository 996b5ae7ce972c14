"""A program as C: `model.c` and `model.h`."""

from __future__ import annotations

from exporters.c.program import Buffer, Program, Shape, View
from exporters.c.sizes import Size


def source(program: Program, name: str, fed: View, outputs: dict[str, View], least: int, most: int) -> str:
    """`model.c`: functions called after `name`, of a model that is fed `fed`, `least` to `most` long.

    An output is written last, and only where the caller wants it.
    """
    outside = f"length != {least}" if least == most else f"length < {least} || length > {most}"
    functions = (
        _sizes(program),
        _plan(program),
        _memory(name, outside),
        _shape(name, outside, outputs),
        _run(program, name, outside, fed, outputs),
    )
    return "\n".join([_HEAD, *("\n".join([*lines, ""]) for lines in functions)])


_HEAD = """\
/* Generated; model.h says how it is used. */
#include "model.h"

#include "kernels/kernels.h"

#include <math.h>
"""


def _sizes(program: Program) -> list[str]:
    floors = program.sizes.floors
    return [
        "/* What follows from the length of the input. */",
        "struct sizes {",
        "    size_t length;",
        *(f"    size_t {text.removeprefix('size.')};" for text in floors),
        "};",
        "",
        "static struct sizes sizes_of(size_t length)",
        "{",
        "    struct sizes size;",
        "    size.length = length;",
        *(f"    {text} = {value.text()} / {by};" for text, (value, by) in floors.items()),
        "    return size;",
        "}",
    ]


def _plan(program: Program) -> list[str]:
    lives = program.lives()
    planned = [buffer for buffer in program.buffers if buffer in lives]
    return [
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
    ]


def _memory(name: str, outside: str) -> list[str]:
    return [
        f"size_t {name}_memory(size_t length)",
        "{",
        "    struct buffer buffers[ARRAYS];",
        f"    if ({outside})",
        "        return 0;",
        "    uint64_t bytes = plan(sizes_of(length), buffers);",
        "    return bytes > SIZE_MAX ? 0 : (size_t)bytes;",
        "}",
    ]


def _shape(name: str, outside: str, outputs: dict[str, View]) -> list[str]:
    return [
        f"int {name}_shape(int output, size_t length, size_t shape[{name.upper()}_AXES])",
        "{",
        f"    if ({outside})",
        "        return 0;",
        "    const struct sizes size = sizes_of(length);",
        "    (void)size;",
        "    switch (output) {",
        *(line for output, view in outputs.items() for line in _case(name, output, view.shape)),
        "    default: return 0;",
        "    }",
        "}",
    ]


def _run(program: Program, name: str, outside: str, fed: View, outputs: dict[str, View]) -> list[str]:
    lives = program.lives()
    lines = [
        f"int {name}_run(const float *weights, const float *{fed.buffer.name}, size_t length, void *memory,",
        f"        float *const outputs[{name.upper()}_OUTPUTS])",
        "{",
        f"    if ({outside})",
        "        return -1;",
        "    const struct sizes size = sizes_of(length);",
        "    const struct simd *const simd = sp_simd_here();",
        "    struct buffer buffers[ARRAYS];",
        "    if (plan(size, buffers) > SIZE_MAX)",
        "        return -1;",
        "    char *const bytes = memory;",
        # Not every model needs all of these.
        *(f"    (void){variable};" for variable in ("weights", "size", "simd", "bytes")),
        *(
            f"    float *const {view.buffer.name} = outputs[{_output(name, output)}];"
            for output, view in outputs.items()
        ),
    ]
    declared: set[Buffer] = set()
    for buffer in program.buffers:
        lines += _declared(buffer, declared, lives)
    wanted = {view.buffer for view in outputs.values()}
    for step in program.steps:
        (written, *_) = step.writes
        guard = f"if ({written.name}) " if written in wanted else ""
        lines += [
            "",
            f"    /* {comment(step.title)} */",
            f"    {guard}{{",
            *(f"        {line}" for line in step.lines),
            "    }",
        ]
    return [*lines, "    return 0;", "}"]


def header(
    name: str, constants: dict[str, int], peak: str | None, about: str, tensor: str, outputs: dict[str, str]
) -> str:
    """`model.h`: `about` says what the model is, `tensor` what it is fed, `outputs` what each one is.

    `peak` is that to which sound is brought before it is fed, in C, where that is done.
    """
    defined = [f"#define {name.upper()}_{key} {value}" for key, value in constants.items()]
    if peak is not None:
        defined.append(
            f"#define {name.upper()}_PEAK {peak} /* of sound before it is fed; a shorter one ends in zeros */"
        )
    capitals = name.upper()
    labels = ""
    if constants["CLASSES"]:
        labels = f"/* The names of the classes. */\nextern const char *const {name}_labels[{capitals}_CLASSES];\n\n"
    width = max(map(len, outputs))
    listed = [
        f"    {_output(name, output)}, {' ' * (width - len(output))}/* {text} */" for output, text in outputs.items()
    ]
    return f"""\
/* {about} */
#ifndef {capitals}_H
#define {capitals}_H

#include <stddef.h>

{chr(10).join(defined)}

#ifdef __cplusplus
extern "C" {{
#endif

/* What it gives, in this order. */
enum {{
{chr(10).join(listed)}
    {capitals}_OUTPUTS
}};

/* The weights, linked in from weights.S; or map weights.bin, which is the same: {capitals}_WEIGHTS floats. */
extern const float {name}_weights[{capitals}_WEIGHTS];

{labels}/* Bytes that a run needs beside the weights; 0 for a length that the model does not take, or for which they are
 * more than can be addressed. */
size_t {name}_memory(size_t length);

/* The shape of an output; returns how many axes it has, 0 for a length that the model does not take. */
int {name}_shape(int output, size_t length, size_t shape[{capitals}_AXES]);

/* {tensor}
 *
 * `memory` is the caller's, {name}_memory(length) bytes, aligned as malloc does; what is in it does not matter.
 * `outputs` are the caller's arrays, of {name}_shape() floats each, or NULL for what is not wanted. Nothing is
 * allocated or kept, so that threads may run it at once, each with its own memory. Returns 0, or -1 for a length of
 * which {name}_memory() is 0.
 */
int {name}_run(const float *weights, const float *input, size_t length, void *memory,
        float *const outputs[{capitals}_OUTPUTS]);

#ifdef __cplusplus
}}
#endif

#endif
"""


def comment(text: str) -> str:
    """A line that ends no comment."""
    return " ".join(
        "".join(letter if letter.isprintable() else " " for letter in text)
        .replace("*/", "* /")
        .replace("/*", "/ *")
        .split()
    )


def _output(name: str, output: str) -> str:
    return f"{name}_output_{output}".upper()


def _case(name: str, output: str, shape: Shape) -> list[str]:
    return [
        f"    case {_output(name, output)}:",
        *(f"        shape[{axis}] = {size.text()};" for axis, size in enumerate(shape)),
        f"        return {len(shape)};",
    ]


def memory(program: Program) -> int:
    """Bytes that a run needs beside the weights, for the length that the program's sizes are known at.

    As kernels/memory.c plans it.
    """
    at = {buffer: (-(-program.sizes.value(buffer.size) * 4 // 64) * 64) for buffer in program.buffers}
    lives = program.lives()
    placed: list[tuple[int, Buffer]] = []
    for buffer in sorted((buffer for buffer in program.buffers if buffer in lives), key=lambda buffer: -at[buffer]):
        first, last = lives[buffer]
        gap = 0
        for offset, other in sorted(placed, key=lambda entry: entry[0]):
            if lives[other][1] < first or last < lives[other][0]:
                continue
            if offset >= gap + at[buffer]:
                break
            gap = max(gap, offset + at[other])
        placed.append((gap, buffer))
    return max((offset + at[buffer] for offset, buffer in placed), default=0)


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
