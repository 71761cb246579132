# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the linter says: one finding, its place in a file, and how it is mended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..problems import Problem, Severity
from .rules import described
from .texts import Note, Text


@dataclass(frozen=True, order=True)
class Finding:
    """One finding. ``path`` is the file (empty for what came without one), ``line`` counts from 1 (0: none known).

    ``place`` is where in the artefact it is (``services.vllm.argv.--host``); ``found`` never holds a secret.
    """

    path: str
    line: int
    place: str
    rule: str
    found: str
    expected: str
    remedy: str
    severity: Severity

    def message(self) -> str:
        """Return the finding as one sentence, without its place in the file."""
        at = f"{self.place}: " if self.place else ""
        return f"{at}found {self.found}; expected {self.expected}. {self.remedy}"

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as a flat mapping; ``line`` is None when it is not known."""
        return {
            "rule": self.rule,
            "severity": self.severity.name.lower(),
            "path": self.path,
            "line": self.line or None,
            "place": self.place,
            "found": self.found,
            "expected": self.expected,
            "remedy": self.remedy,
            "message": self.message(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Finding:
        """Return the finding ``as_dict`` made; raise ValueError for what it did not make."""
        try:
            line = values["line"] or 0
            texts = [values[key] for key in ("path", "place", "rule", "found", "expected", "remedy")]
            severity = Severity.parse(values["severity"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no finding: {error!r}") from error
        if not isinstance(line, int) or not all(isinstance(text, str) for text in texts):
            raise ValueError("no finding: line is a number, the rest are texts")
        path, place, rule, found, expected, remedy = (str(text) for text in texts)
        return cls(path, int(line), place, rule, found, expected, remedy, severity)

    def as_problem(self) -> Problem:
        """Return the finding as a problem of a declaration or a plan, which have places but no files."""
        return Problem(self.place, self.rule, self.found, self.expected, self.remedy, self.severity)


def from_note(note: Note, path: str) -> Finding:
    """Return what ``note`` means, with the words of the catalogue where the note has none of its own."""
    rule = described()[note.rule]
    severity = note.severity if note.severity is not None else rule.severity
    if severity is None:
        raise ValueError(f"rule {note.rule} is judged by its table, not by a note")
    return Finding(
        note.at.path or path,
        note.at.line,
        note.place,
        note.rule,
        note.found,
        note.expected or rule.expected,
        note.remedy or rule.remedy,
        severity,
    )


def from_problem(problem: Problem, at: Text, path: str) -> Finding:
    """Return a problem of a declaration as a finding at the place ``at`` of file ``path``."""
    return Finding(
        at.path or path,
        at.line,
        problem.path,
        problem.rule,
        problem.found,
        problem.expected,
        problem.remedy,
        problem.severity,
    )


def settled(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings in order, each place with only the worst a rule says about it.

    Lines that several servers share (anchors, files of variables) are said once.
    """
    worst: dict[tuple[str, str, int, str], Finding] = {}
    for finding in findings:
        shared = finding.line > 0 and finding.found != "nothing"
        key = (finding.rule, finding.path, finding.line, finding.found if shared else finding.place)
        if key not in worst or finding.severity > worst[key].severity:
            worst[key] = finding
    return sorted(worst.values())
