"""YAML read as plain data, each value with its line: nothing is constructed, whatever a tag in the text names."""

import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from recipes.base import files
from recipes.base.errors import UserError

# The line on which each value begins, or rather its key, by the keys and indexes that lead to it; () is the whole.
Lines = dict[tuple[str | int, ...], int]
Tags = Mapping[str, type[yaml.Node]]

_PREFIX = "tag:yaml.org,2002:"
_PLAIN_TAGS = {f"{_PREFIX}{kind}" for kind in ("bool", "float", "int", "map", "null", "seq", "str")}

# Twice what the deepest key of a configuration needs; and forty times the longest file that is known, which PyYAML
# still reads within seconds.
_MOST_LEVELS = 12
_MOST_BYTES = 65536

# Greater numbers are no size of anything, and Python refuses to print those of over 4,300 digits.
_MOST_BITS = 64


def text_of(path: Path) -> str:
    """The text of a file, so far as `read` would take it; raises UserError where there is none."""
    try:
        # One that is longer is read so far, and refused by `read`.
        with files.opened(path, sys.maxsize) as file:
            content = file.read(_MOST_BYTES + 1)
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        if len(content) > _MOST_BYTES and error.end >= len(content) - 3:
            return content[: error.start].decode("utf-8-sig") + " "  # Cut within a character: too long as it is.
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}: line {line} is not UTF-8; save the file as UTF-8") from None


def read(text: str, origin: str, tags_as_data: Tags | None = None) -> tuple[object, Lines]:
    """Mappings, lists and scalars of a YAML text, and their lines; `origin` is the file's name in messages.

    `tags_as_data` (without the exclamation marks, as in `python/tuple`) count for nothing on a node of their kind: it
    is read as what it is written as. Raises UserError, with the line, for any other tag, an alias, a key that stands
    twice or is no text, a value that its tag belies, deep nesting, a text that is empty or too long, and no YAML.
    """
    if len(text.encode("utf-8", "surrogatepass")) > _MOST_BYTES:
        raise UserError(f"{origin}: is over {_MOST_BYTES} bytes long; no such file of settings is, so give another one")
    lines: Lines = {}
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            # An alias can make a few lines stand for billions of nodes.
            if isinstance(event, yaml.AliasEvent):
                raise UserError(f"{origin}: line {_line(event)}: aliases are not allowed; write the value out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MOST_LEVELS:
                raise UserError(
                    f"{origin}: line {_line(event)}: nested over {_MOST_LEVELS} levels deep; no key needs that"
                )
        # compose() builds nodes and constructs nothing, whatever tags the text has.
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise UserError(f"{origin}: the file is empty")
        return _plain(node, (), lines, origin, tags_as_data or {}), lines
    # PyYAML passes on what Python says to an escape that is no character, such as "\UFFFFFFFF".
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise UserError(f"{origin}: not valid YAML: {' '.join(str(error).split())[:300]}") from None


def _plain(node: yaml.Node, path: tuple[str | int, ...], lines: Lines, origin: str, tags: Tags) -> object:
    line = _line(node)
    tag = node.tag.removeprefix(_PREFIX)
    if node.tag not in _PLAIN_TAGS and not isinstance(node, tags.get(tag, ())):
        raise UserError(
            f"{origin}: line {line}: is read as {tag[:100]!r}, which is not allowed; "
            "nothing but plain values is read: take the key out, or write its value plainly, and text in quotes"
        )
    lines.setdefault(path, line)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, object] = {}
        for key, value in node.value:
            name = key.value
            if not isinstance(name, str) or key.tag not in _PLAIN_TAGS:
                raise UserError(f"{origin}: line {_line(key)}: a key must be a plain name")
            if name in mapping:
                raise UserError(f"{origin}: line {_line(key)}: the key {name[:50]!r} stands twice; remove one")
            lines[*path, name] = _line(key)
            mapping[name] = _plain(value, (*path, name), lines, origin, tags)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, index), lines, origin, tags) for index, item in enumerate(node.value)]
    if tag in tags:
        return node.value
    try:
        value = yaml.SafeLoader("").construct_object(node)
    # PyYAML looks for the first character of a number, where a tag may say that nothing is one.
    except (ValueError, LookupError, OverflowError):
        value = node
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        value = node
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise UserError(f"{origin}: line {line}: {node.value[:50]!r} is not what its tag says; put it in quotes")
    return value


def _line(node: yaml.Node | yaml.Event) -> int:
    return node.start_mark.line + 1 if node.start_mark else 0
