"""Sizes that depend on the length of the input: polynomials in the length and in what divisions of it have left.

Two sizes that are the same are equal as values, so that what may be merged or read in place can be told ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd

Monomial = tuple[str, ...]


@dataclass(frozen=True)
class Size:
    """A sum of products: `terms` has the factor of each product of names, sorted, the empty one for the constant."""

    terms: tuple[tuple[Monomial, int], ...]

    @classmethod
    def of(cls, value: int | Size) -> Size:
        return value if isinstance(value, Size) else _size({(): value})

    @classmethod
    def named(cls, name: str) -> Size:
        return _size({(name,): 1})

    def __add__(self, other: int | Size) -> Size:
        sums = dict(self.terms)
        for names, factor in Size.of(other).terms:
            sums[names] = sums.get(names, 0) + factor
        return _size(sums)

    def __mul__(self, other: int | Size) -> Size:
        products: dict[Monomial, int] = {}
        for one, a in self.terms:
            for two, b in Size.of(other).terms:
                names = tuple(sorted(one + two))
                products[names] = products.get(names, 0) + a * b
        return _size(products)

    def __sub__(self, other: int | Size) -> Size:
        return self + Size.of(other) * -1

    def exactly(self, divisor: Size) -> Size | None:
        """This divided by a product of names and a number; None where that leaves a rest."""
        if len(divisor.terms) != 1:
            return Size.of(1) if self == divisor else None
        ((names, factor),) = divisor.terms
        quotient: dict[Monomial, int] = {}
        for own, number in self.terms:
            left = list(own)
            if number % factor or any(left.count(name) < names.count(name) for name in names):
                return None
            for name in names:
                left.remove(name)
            quotient[tuple(left)] = number // factor
        return _size(quotient)

    @property
    def number(self) -> int | None:
        """Where it depends on nothing."""
        if any(names for names, _ in self.terms):
            return None
        return dict(self.terms).get((), 0)

    def at(self, values: Mapping[str, int]) -> int:
        """With these values for its names."""
        total = 0
        for names, factor in self.terms:
            for name in names:
                factor *= values[name]
            total += factor
        return total

    def text(self) -> str:
        """In C, in parentheses where it is a sum."""
        words = []
        for names, factor in sorted(self.terms, key=lambda term: (not term[0], term)):
            parts = list(names) if factor in (1, -1) and names else [str(abs(factor)), *names]
            words.append(("- " if factor < 0 else "+ ") + " * ".join(parts))
        if not words:
            return "0"
        # What is taken away comes last: these are numbers without a sign.
        words.sort(key=lambda word: word.startswith("-"))
        first = words[0].removeprefix("+ ")
        return first if len(words) == 1 else f"({' '.join([first, *words[1:]])})"


def _size(terms: Mapping[Monomial, int]) -> Size:
    return Size(tuple(sorted((names, factor) for names, factor in terms.items() if factor)))


@dataclass
class Sizes:
    """The names that sizes are made of, in the order in which they can be computed, and their values for one length.

    `floors` has, by name, what is divided and by what.
    """

    at: dict[str, int]
    floors: dict[str, tuple[Size, int]]

    def floor(self, value: Size, divisor: int, hint: str) -> Size:
        """A size divided by a number and rounded down, by a name that is made of `hint` where it needs one."""
        if divisor == 1:
            return value
        if value.number is not None:
            return Size.of(value.number // divisor)
        if all(factor % divisor == 0 for names, factor in value.terms if names):
            constant = dict(value.terms).get((), 0)
            return _size({n: f // divisor for n, f in value.terms if n} | {(): constant // divisor})
        # The same division written with smaller numbers.
        common = gcd(divisor, *(factor for names, factor in value.terms if names))
        if common > 1:
            constant = dict(value.terms).get((), 0)
            return self.floor(
                _size({n: f // common for n, f in value.terms if n} | {(): constant // common}), divisor // common, hint
            )
        # One division of another's result is one division, by both numbers.
        inner = [names[0] for names, factor in value.terms if len(names) == 1 and factor == 1]
        if len(inner) == 1 and inner[0] in self.floors and (rest := value - Size.named(inner[0])).number is not None:
            dividend, first = self.floors[inner[0]]
            return self.floor(dividend + rest * first, first * divisor, hint)
        whole = _size({(): dict(value.terms).get((), 0) // divisor})
        value = value - whole * divisor
        for name, known in self.floors.items():
            if known == (value, divisor):
                return Size.named(name) + whole
        name, number = hint, 2
        while name in self.at:
            name, number = f"{hint}_{number}", number + 1
        self.floors[name] = value, divisor
        self.at[name] = value.at(self.at) // divisor
        return Size.named(name) + whole

    def value(self, size: Size) -> int:
        """At the one length."""
        return size.at(self.at)

    def at_length(self, name: str, length: int) -> dict[str, int]:
        """The value of each name for another length, which is itself called `name`."""
        values = {name: length}
        for floor, (dividend, divisor) in self.floors.items():
            values[floor] = dividend.at(values) // divisor
        return values
