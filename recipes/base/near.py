"""What somebody may have meant who mistyped a name."""

from collections.abc import Iterable
from difflib import get_close_matches


def meant(name: str, known: Iterable[str]) -> str:
    """The known names that are spelt nearly so, as a question to put behind the wrong one; empty where none are."""
    spelt = {one.lower(): one for one in known}
    near = get_close_matches(name.lower(), list(spelt))
    return f" (did you mean {', '.join(spelt[one] for one in near)}?)" if near else ""
