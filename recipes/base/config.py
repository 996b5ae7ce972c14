"""Reads `configs/FAMILY`: what a family's variants share, and what each has of its own; every complaint with its line.

What `family.yaml` says holds for all variants of the family, and a variant's own file stands over it: where both say a
key, mappings are merged key by key, and anything else is replaced. Parts are what only some variants share: those of
`family.yaml` that a variant lists under `parts` stand between the two, each over the ones before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, reduce
from importlib import import_module, resources
from importlib.resources.abc import Traversable
from typing import Any

from pydantic import TypeAdapter, ValidationError

from recipes.base import plain_yaml
from recipes.base.errors import UserError
from recipes.base.fields import complaint
from recipes.base.near import meant
from recipes.base.spec import Variant

FAMILY_FILE = "family.yaml"

# What Variant has as a list of things with names is written as a mapping from their names, which can be merged.
BY_NAME = ("alternative_inputs", "outputs")

_Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Said:
    """A value of a configuration, and where it stands: `FILE: line N` in each file that had a say in it."""

    value: dict[str, Said] | list[Said] | str | float | None
    places: tuple[str, ...]

    def mapping(self) -> dict[str, Said]:
        return self.value if isinstance(self.value, dict) else {}

    def without(self, key: str) -> Said:
        return Said({name: value for name, value in self.mapping().items() if name != key}, self.places)

    def over(self, lower: Said) -> Said:
        """What this says, and of mappings also what only `lower` says."""
        if not (isinstance(self.value, dict) and isinstance(lower.value, dict)):
            return self
        upper = {
            key: value.over(lower.value[key]) if key in lower.value else value for key, value in self.value.items()
        }
        return Said({**lower.value, **upper}, self.places + lower.places)

    def plain(self) -> object:
        if isinstance(self.value, dict):
            return {key: value.plain() for key, value in self.value.items()}
        return [value.plain() for value in self.value] if isinstance(self.value, list) else self.value

    def error(self, path: _Path, message: str) -> UserError:
        """A complaint of what is at that path, placed at what is nearest to it where nothing is."""
        nearest = self
        for key in path:
            inner: dict[Any, Said] = (
                dict(enumerate(nearest.value)) if isinstance(nearest.value, list) else nearest.mapping()
            )
            if key not in inner:
                break
            nearest = inner[key]
        where = ".".join(map(str, path)) or "top level"
        return UserError(f"{' and '.join(nearest.places)}, {where}: {message}")


def read(text: str, origin: str) -> Said:
    """The keys in a YAML text; `origin` is the file's name in messages. Raises UserError, with the line."""
    data, lines = plain_yaml.read(text, origin)

    def said(value: object, path: _Path) -> Said:
        place = (f"{origin}: line {lines[path]}",)
        if isinstance(value, dict):
            return Said({key: said(item, (*path, key)) for key, item in value.items()}, place)
        if isinstance(value, list):
            return Said([said(item, (*path, index)) for index, item in enumerate(value)], place)
        assert value is None or isinstance(value, (str, int, float))
        return Said(value, place)

    whole = said(data, ())
    if not isinstance(data, dict):
        raise whole.error((), "must be keys with their values, such as `name: mn10_as`")
    return whole


def parse(text: str, origin: str, family: Said | None = None) -> Variant:
    """A variant from YAML text that stands over what its family shares; `origin` is the file's name in messages.

    Raises UserError that lists every unknown, missing or ill-typed key with its file and line.
    """
    own = read(text, origin)
    whole = reduce(lambda lower, upper: upper.over(lower), (*_shared(own, family), own.without("parts")))
    data = {key: _listed(whole, key) if key in BY_NAME else value.plain() for key, value in whole.mapping().items()}
    try:
        # JSON is the mode in which pydantic is strict about types and still takes lists and mappings for dataclasses.
        variant = TypeAdapter(_variant_type(whole)).validate_json(json.dumps(data))
    except ValidationError as error:
        complaints = [_complaint(whole, item["loc"], complaint(item["msg"])) for item in error.errors()]
        raise UserError("; ".join(complaints)) from None
    try:
        variant = variant.derived()
    except ValueError as error:
        raise whole.error((), str(error)) from None
    # Of a variant whose files give fewer outputs this need not hold.
    known = [output.name for output in variant.outputs]
    if unknown := next((name for name in variant.inside() if name not in known), None):
        raise whole.error((), f"names the output {unknown!r}, which is not among {', '.join(known)}")
    return variant


def called(values: Mapping[str, object]) -> Said:
    """Numbers by name, as a program gives them."""
    given = {name: Said(value, (f"{name}={value!r}",)) for name, value in values.items()}  # type: ignore[arg-type]
    return Said(given, tuple(place for said in given.values() for place in said.places))


def settings(words: Iterable[str]) -> Said:
    """Numbers by name, from words such as n_mels=80; a later one over an earlier. Raises UserError for other words."""
    given: dict[str, Said] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key or not text:
            raise UserError(f"--set {word}: give a number by its name, such as n_mels=80")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if isinstance(value, (dict, list)):
            raise UserError(f"--set {word}: give one number or word")
        given[key] = Said(value, (f"--set {word}",))
    return Said(given, tuple(place for said in given.values() for place in said.places))


def with_numbers(variant: Variant, given: Said) -> Variant:
    """The variant with other numbers, by the names that its family lets users set: one of another name, then.

    Raises UserError with the place of each number that is unknown or wrong, and for a variant whose numbers are those
    that its weights were trained with.
    """
    places = variant.settable()
    if not places:
        raise UserError(
            f"{variant.name} has the numbers that its weights were trained with; leave out --set and --config"
        )
    data = asdict(variant)
    all_of_them = f"`convert list {variant.name}` shows all"
    for key, value in given.mapping().items():
        if key not in places:
            raise given.error((key,), f"is no number of {variant.name}{meant(key, places)}; {all_of_them}")
        *outer, last = places[key]
        reduce(dict.__getitem__, outer, data)[last] = value.plain()
    try:
        changed = TypeAdapter(type(variant)).validate_json(json.dumps(data)).derived()
    except ValidationError as error:
        names = {place: name for name, place in places.items()}
        complaints = []
        for item in error.errors():
            path, message = tuple(map(str, item["loc"])), complaint(item["msg"])
            name = names.get(path[:2], names.get(path[:1], ""))
            if name in given.mapping():
                complaints.append(_complaint(given, (name,), f"{message}{_hint(given.mapping()[name].value)}"))
            else:
                complaints.append(f"{' and '.join(given.places)}: {message}")
        raise UserError("; ".join(dict.fromkeys(complaints))) from None
    except ValueError as error:
        raise UserError(f"{' and '.join(given.places)}: {error}") from None
    if changed == variant:
        return variant
    return replace(changed, name=f"{variant.name}_changed", title=f"{variant.title}, changed", default=False)


def _hint(value: object) -> str:
    """What a number lacks that YAML takes for text."""
    if not isinstance(value, str) or not re.fullmatch(r"[-+]?[0-9]+e[-+]?[0-9]+", value):
        return ""
    mantissa, _, exponent = value.partition("e")
    sign = exponent if exponent[0] in "+-" else f"+{exponent}"
    return f"; YAML takes {value} for text: write {mantissa}.0e{sign}"


def _shared(own: Said, family: Said | None) -> Iterator[Said]:
    """What the variant stands over, the undermost first."""
    family = family or Said({}, ())
    yield family.without("parts")
    parts = family.mapping().get("parts", Said({}, ()))
    known = parts.mapping()
    for path, part in ((("parts",), parts), *((("parts", name), part) for name, part in known.items())):
        if not isinstance(part.value, dict):
            raise family.error(path, "must be keys with their values")
    asked = own.mapping().get("parts", Said([], ()))
    if not isinstance(asked.value, list):
        raise own.error(("parts",), "must be a list of names")
    for index, name in enumerate(asked.value):
        if not isinstance(name.value, str) or name.value not in known:
            raise own.error(("parts", index), f"is no part of {FAMILY_FILE}, which has {', '.join(known) or 'none'}")
        yield known[name.value]


def _listed(whole: Said, key: str) -> list[dict[str, object]]:
    """The mapping from names at that key, as the list that Variant has."""
    if not isinstance(whole.mapping()[key].value, dict):
        raise whole.error((key,), "must be a mapping from each name to its keys")
    listed = []
    for name, item in whole.mapping()[key].mapping().items():
        if not isinstance(item.value, dict):
            raise whole.error((key, name), "must be keys with their values")
        if "name" in item.value:
            raise whole.error((key, name, "name"), "unknown key; the name is what all this stands under")
        listed.append({"name": name, **{inner: value.plain() for inner, value in item.value.items()}})
    return listed


def _complaint(whole: Said, path: _Path, message: str) -> str:
    """What pydantic says of a value, where it stands in the files."""
    if message == "Unexpected keyword argument":
        message = "unknown key; remove it or correct its spelling"
    if len(path) > 1 and path[0] in BY_NAME and isinstance(path[1], int):
        path = (path[0], list(whole.mapping()[str(path[0])].mapping())[path[1]], *path[2:])
    return str(whole.error(path, message))


def _variant_type(whole: Said) -> type[Variant]:
    """The family's own Variant, in `recipes.FAMILY.spec`, adds what its configurations say beyond the common keys."""
    family = whole.mapping().get("family", Said(None, ())).plain()
    known = [entry.name for entry in resources.files("recipes").iterdir() if entry.joinpath("spec.py").is_file()]
    if family == "base" or family not in known:
        raise whole.error(("family",), f"must be one of {', '.join(sorted(set(known) - {'base'}))}, not {family!r}")
    return import_module(f"recipes.{family}.spec").Variant


@cache
def variants() -> tuple[Variant, ...]:
    """Every variant that has a file, by family and name."""
    folders = sorted((entry for entry in resources.files("configs").iterdir() if entry.is_dir()), key=lambda e: e.name)
    return tuple(variant for folder in folders for variant in of_family(folder))


def of_family(folder: Traversable) -> Iterator[Variant]:
    """The variants in a folder of `configs`, by name."""
    files = {file.name: file for file in folder.iterdir() if file.name.endswith(".yaml")}
    texts = {name: files[name].read_text(encoding="utf-8") for name in sorted(files)}
    shared = texts.pop(FAMILY_FILE, None)
    family = None if shared is None else read(shared, f"configs/{folder.name}/{FAMILY_FILE}")
    for name, text in texts.items():
        origin = f"configs/{folder.name}/{name}"
        variant = parse(text, origin, family)
        if name != f"{variant.name}.yaml" or folder.name != variant.family:
            called = f"{variant.family}/{variant.name}"
            raise UserError(
                f"{origin}: is of the variant {called}; a file is called as its variant, in its family's folder"
            )
        yield variant


def find(name: str) -> Variant:
    """The variant of that name, or the default one of the family of that name."""
    for variant in variants():
        if variant.name == name or (variant.family == name and variant.default):
            return variant
    known = sorted({v.family for v in variants()} | {v.name for v in variants()})
    raise UserError(f"there is no recipe {name!r}{meant(name, known)}; `convert list` shows all")
