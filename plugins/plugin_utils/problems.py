# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every stage of the core says when something is wrong, in one shape."""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace


class Severity(enum.IntEnum):
    """How much a problem weighs; errors stop a run, the rest is said."""

    INFO = 0
    WARNING = 1
    ERROR = 2

    @classmethod
    def parse(cls, word: str) -> Severity:
        """Return the severity named by ``word`` (info, warning or error); raise ValueError for any other."""
        try:
            return cls[word.upper()]
        except KeyError:
            raise ValueError(f"unknown severity {word!r}: expected info, warning or error") from None


def whole_number(text: str) -> int | None:
    """Return the whole number ``text`` writes with ASCII digits, None for any other text and for more than nine."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


@dataclass(frozen=True, order=True)
class Problem:
    """One finding: where it is, what was found, what was expected and how to mend it.

    ``path`` is dotted from the top of the input (``vllm_cluster.tenants[0].name``), ``found`` is printable and
    never holds a secret.
    """

    path: str
    rule: str
    found: str
    expected: str
    remedy: str
    severity: Severity = Severity.ERROR

    def sentence(self) -> str:
        """Return the problem as one line of text."""
        return (
            f"{self.severity.name.lower()} [{self.rule}] {self.path}: found {self.found}; "
            f"expected {self.expected}. {self.remedy}"
        )

    def as_dict(self) -> dict[str, str]:
        """Return the problem as a flat mapping of strings, with the keys of the dataclass and ``message``."""
        return {
            "rule": self.rule,
            "severity": self.severity.name.lower(),
            "path": self.path,
            "found": self.found,
            "expected": self.expected,
            "remedy": self.remedy,
            "message": self.sentence(),
        }


def shown(value: object, limit: int = 80) -> str:
    """Return ``value`` as it may be printed in a problem.

    It is quoted, has no line breaks and no credentials of addresses, and is cut at ``limit`` characters.
    """
    text = masked(repr(value))
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def masked(text: str) -> str:
    """Return ``text`` without the credentials of the addresses in it."""
    return re.sub(r"://[^/@\s]+@", "://***@", text)


def type_name(value: object) -> str:
    """Return what YAML calls the type of ``value``."""
    names: list[tuple[type | tuple[type, ...], str]] = [
        (bool, "boolean"),
        (str, "string"),
        ((int, float), "number"),
        (Mapping, "mapping"),
        ((list, tuple), "list"),
        (type(None), "null"),
    ]
    return next((name for kind, name in names if isinstance(value, kind)), type(value).__name__)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint naming the closest known word, or the list of all of them when nothing is close."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known here: {', '.join(names)}."


def once(problems: list[Problem]) -> Problem:
    """Return the first of ``problems``, one and the same thing found on several hosts, with the number of the others."""
    first, *others = problems
    if not others or not first.path.startswith("hosts."):
        return first
    return replace(first, found=f"{first.found} (and on {len(others)} more)")
