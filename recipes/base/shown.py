"""Where text from files becomes text for people: on a terminal, in XML, in a model card.

Names come out of files that strangers made. Shown as they are, a line break makes one error look like two, an escape
sequence colours the screen, and a bidirectional mark turns around what follows (https://trojansource.codes).
"""

import re
import unicodedata

# A longer word is a name that somebody made up; and nobody reads a longer message.
_MOST_OF_A_WORD = 300
_MOST = 4000
_LONG_WORD = re.compile(rf"\S{{{_MOST_OF_A_WORD + 1},}}")
# Words of some scripts, and emoji, are written with these two invisible joiners; they change nothing but letters.
_JOINERS = "\u200c\u200d"


def shown(text: str) -> str:
    """One line: control and bidirectional characters and surrogates escaped, what is long cut in the middle."""
    if len(text) <= _MOST_OF_A_WORD and text.isprintable():
        return text
    words = _LONG_WORD.sub(lambda found: _cut(found[0], _MOST_OF_A_WORD), text)
    return "".join(map(_escaped, _cut(words, _MOST)))


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}[... {len(text) - 2 * half} characters ...]{text[-half:]}"


def _escaped(character: str) -> str:
    if character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
