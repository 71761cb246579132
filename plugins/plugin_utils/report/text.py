# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings for people: a line each, with its place and how to mend it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..linting.finding import Finding
from ..problems import Severity

_WORDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def render(findings: Sequence[Finding], read: Sequence[str] = ()) -> str:
    """Return a line for each finding and one that counts them."""
    return "".join(f"{line}\n" for line in [*(_line(finding) for finding in findings), summary(findings, read)])


def summary(findings: Sequence[Finding], read: Sequence[str] = ()) -> str:
    """Return how many findings there are, by how bad they are."""
    counted = Counter(finding.severity for finding in findings)
    parts = [_count(counted[severity], word) for severity, word in _WORDS.items()]
    files = len({*read, *(finding.path for finding in findings if finding.path)})
    return f"{', '.join(parts)} in {_count(files, 'file')}"


def _line(finding: Finding) -> str:
    where = f"{finding.path}:{finding.line}: " if finding.path and finding.line else ""
    if finding.path and not finding.line:
        where = f"{finding.path}: "
    text = f"{where}{finding.severity.name.lower()} [{finding.rule}] {finding.message()}"
    # What was found is foreign text; a terminal shall not act on it.
    return "".join(character if character.isprintable() else "?" for character in text)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
