# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unit files as systemd reads them: sections, continued lines, lists that an empty value empties, its own quoting."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..texts import Text, UnreadableError, put_in

_SPECIFIER = re.compile(r"%[a-zA-Z]")
_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ESCAPES = {"n": "\n", "t": "\t", "s": " ", "r": "\r", '"': '"', "'": "'", "\\": "\\"}

Sections = dict[str, dict[str, list[Text]]]


def parse(content: str, path: str = "") -> Sections:
    """Return ``{section: {key: values}}``; an empty value empties the list, as in systemd."""
    sections: Sections = {}
    extend(sections, content, path)
    return sections


def extend(sections: Sections, content: str, path: str = "") -> None:
    """Put the settings of another file, a drop-in, on top of ``sections``."""
    section: dict[str, list[Text]] | None = None
    for number, line in _lines(content):
        bare = line.strip()
        if not bare:
            continue
        if bare.startswith("[") and bare.endswith("]"):
            section = sections.setdefault(bare[1:-1], {})
            continue
        key, equals, value = bare.partition("=")
        if not equals or section is None:
            raise UnreadableError(
                "a line that is neither a section nor KEY=VALUE", "Mend the unit.", number, "the form of a unit file"
            )
        values = section.setdefault(key.strip(), [])
        if value.strip():
            values.append(Text(value.strip(), number, path))
        else:
            values.clear()


def _lines(content: str) -> list[tuple[int, str]]:
    lines: list[tuple[int, str]] = []
    held: list[str] = []
    start = 0
    for number, line in enumerate(content.split("\n"), 1):
        # Comments in the middle of a continued line are left out of it.
        if line.lstrip().startswith(("#", ";")):
            continue
        if not held:
            start = number
        text = line.lstrip() if held else line
        if text.endswith("\\"):
            held.append(text[:-1])
        else:
            lines.append((start, " ".join([*held, text])))
            held = []
    return [*lines, (start, " ".join(held))] if held else lines


def last(settings: Mapping[str, list[Text]], key: str) -> Text | None:
    """Return the value of ``key`` that counts, None when it has none."""
    values = settings.get(key)
    return values[-1] if values else None


def words(value: Text) -> list[Text]:
    """Split a value by systemd's quoting; specifiers such as ``%i`` make a word unknown."""
    found: list[Text] = []
    current: list[str] = []
    quote = ""
    open_word = False
    index = 0
    while index < len(value):
        character = value[index]
        index += 1
        if character == "\\" and quote != "'" and index < len(value):
            current.append(_ESCAPES.get(value[index], "\\" + value[index]))
            index += 1
            open_word = True
        elif quote and character == quote:
            quote = ""
        elif not quote and character in "\"'":
            quote = character
            open_word = True
        elif not quote and character.isspace():
            if open_word:
                found.append(_word(value, "".join(current)))
            current, open_word = [], False
        else:
            current.append(character)
            open_word = True
    if open_word:
        found.append(_word(value, "".join(current)))
    return found


def _word(value: Text, text: str) -> Text:
    return value.become(text.replace("%%", "%"), known=value.known and not _SPECIFIER.search(text.replace("%%", "")))


def assignments(values: list[Text]) -> dict[str, Text]:
    """Return the variables of ``Environment=`` settings."""
    found: dict[str, Text] = {}
    for value in values:
        for word in words(value):
            name, equals, text = word.partition("=")
            if equals:
                found[name] = word.become(text)
    return found


def command(value: Text, environment: Mapping[str, Text], prefixed: bool = True) -> list[Text]:
    """Return the words of an ``Exec`` setting with variables put in; ``$NAME`` alone becomes several words.

    ``prefixed`` is whether the first word may begin with systemd's marks such as ``-`` and ``+``.
    """
    found: list[Text] = []
    for number, word in enumerate(words(value)):
        text = word.become(word.lstrip("@-:+!|")) if number == 0 and prefixed else word
        alone = re.fullmatch(r"\$([A-Za-z_][A-Za-z0-9_]*)", text)
        if alone:
            held = environment.get(alone[1])
            if held is None:
                found.append(text.become(text, known=False))
            else:
                found += [text.become(piece, known=held.known, literal=held.literal) for piece in held.split()]
            continue
        known = text.known

        def put(match: re.Match[str]) -> str:
            nonlocal known
            if match[1] is None:
                return "$"
            held = environment.get(match[1])
            known = known and held is not None and held.known
            return str(held) if held is not None else match[0]

        whole = put_in(_VARIABLE, put, text)
        found.append(text.become(text if whole is None else whole, known=known and whole is not None))
    return found
