"""Reads `configs/FAMILY/VARIANT.yaml`: a restricted YAML, checked key by key, every complaint with its line."""

import json
from functools import cache
from importlib import import_module, resources
from importlib.resources.abc import Traversable

import yaml
from pydantic import TypeAdapter, ValidationError

from recipes.base.errors import UserError
from recipes.base.spec import Variant

_Lines = dict[tuple[str | int, ...], int]

_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int", "map", "null", "seq", "str")}

# Twice what the deepest key needs.
_MOST_LEVELS = 12


def parse(text: str, origin: str) -> Variant:
    """A variant from YAML text; `origin` is the file's name in messages.

    Raises UserError that lists every unknown, missing or ill-typed key with its line.
    """
    lines: _Lines = {}
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
            raise UserError(f"{origin}: the file is empty; every configuration needs at least family and name")
        data = _plain(node, (), lines, origin)
    except yaml.YAMLError as error:
        raise UserError(f"{origin}: not valid YAML: {' '.join(str(error).split())}") from None
    try:
        # JSON is the mode in which pydantic is strict about types and still takes lists and mappings for dataclasses.
        return TypeAdapter(_variant_type(data, origin)).validate_json(json.dumps(data))
    except ValidationError as error:
        complaints = "; ".join(_complaint(item["loc"], item["msg"], lines) for item in error.errors())
        raise UserError(f"{origin}: {complaints}") from None


def _variant_type(data: object, origin: str) -> type[Variant]:
    """The family's own Variant, in `recipes.FAMILY.spec`, adds what its configurations say beyond the common keys."""
    family = data.get("family") if isinstance(data, dict) else None
    known = [entry.name for entry in resources.files("recipes").iterdir() if entry.joinpath("spec.py").is_file()]
    if family == "base" or family not in known:
        families = ", ".join(sorted(set(known) - {"base"}))
        raise UserError(f"{origin}: the key 'family' must be one of {families}, not {family!r}")
    return import_module(f"recipes.{family}.spec").Variant


def _complaint(location: tuple[str | int, ...], message: str, lines: _Lines) -> str:
    if message == "Unexpected keyword argument":
        message = "unknown key; remove it or correct its spelling"
    known = next((location[:end] for end in range(len(location), -1, -1) if location[:end] in lines), ())
    place = ".".join(map(str, location)) or "top level"
    return f"line {lines[known]}, {place}: {message.removeprefix('Value error, ')}"


def _line(node: yaml.Node | yaml.Event) -> int:
    return node.start_mark.line + 1 if node.start_mark else 0


def _plain(node: yaml.Node, path: tuple[str | int, ...], lines: _Lines, origin: str) -> object:
    """Mappings, lists and scalars of a composed node; no tags, no key twice."""
    line = _line(node)
    if node.tag not in _PLAIN_TAGS:
        raise UserError(
            f"{origin}: line {line}: is read as {node.tag.removeprefix('tag:yaml.org,2002:')!r}, which is not allowed; "
            "write plain values, and text that looks like something else in quotes"
        )
    lines[path] = line
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, object] = {}
        for key, value in node.value:
            name = key.value
            if not isinstance(name, str) or key.tag == "tag:yaml.org,2002:merge":
                raise UserError(f"{origin}: line {_line(key)}: a key must be a plain name")
            if name in mapping:
                raise UserError(f"{origin}: line {_line(key)}: the key {name!r} stands twice; remove one")
            mapping[name] = _plain(value, (*path, name), lines, origin)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, index), lines, origin) for index, item in enumerate(node.value)]
    try:
        value = yaml.SafeLoader("").construct_object(node)
    except (ValueError, KeyError):
        value = node
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise UserError(f"{origin}: line {line}: {node.value[:50]!r} is not what its tag says; put it in quotes")
    return value


@cache
def variants() -> tuple[Variant, ...]:
    """Every variant that has a file, by family and name."""
    return tuple(_read(file) for file in sorted(_files(), key=str))


def _files() -> list[Traversable]:
    families = (entry for entry in resources.files("configs").iterdir() if entry.is_dir())
    return [file for family in families for file in family.iterdir() if file.name.endswith(".yaml")]


def _read(file: Traversable) -> Variant:
    variant = parse(file.read_text(encoding="utf-8"), file.name)
    if file.name != f"{variant.name}.yaml":
        raise UserError(f"{file.name}: names the variant {variant.name!r}; a file is called as its variant")
    return variant


def find(name: str) -> Variant:
    """The variant of that name, or the default one of the family of that name."""
    for variant in variants():
        if variant.name == name or (variant.family == name and variant.default):
            return variant
    known = ", ".join(sorted({v.family for v in variants()} | {v.name for v in variants()}))
    raise UserError(f"there is no recipe {name!r}; `convert list` shows all: {known}")
