"""What somebody may have meant who mistyped a name."""

from collections.abc import Iterable
from difflib import get_close_matches


def meant(name: str, known: Iterable[str]) -> str:
    """The known names that are spelt nearly so, as a question to put behind the wrong one; empty where none are."""
    near = get_close_matches(name.lower(), list(known))
    return f" (did you mean {', '.join(near)}?)" if near else ""
