# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings as JUnit XML: a suite for each file, a failed case for each finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from ..linting.finding import Finding
from ..problems import Severity


@dataclass(frozen=True)
class Case:
    """One case of a suite. ``outcome``: passed, failure or skipped; ``kind`` is the type of a failure, ``text`` its whole story."""

    name: str
    outcome: str = "passed"
    message: str = ""
    kind: str = ""
    text: str = ""
    line: int = 0


def render(findings: Sequence[Finding], read: Sequence[str] = ()) -> str:
    """Return ``<testsuites>``; notes are skipped cases, a file without findings is one passed case."""
    suites: dict[str, list[Case]] = {}
    for path in sorted({*read, *(finding.path for finding in findings)}):
        suites[path] = [_case(finding) for finding in findings if finding.path == path] or [Case("no findings")]
    return document("hardened.vllm lint", suites)


def document(name: str, suites: Mapping[str, Sequence[Case]]) -> str:
    """Return ``<testsuites>`` with a suite for each name."""
    root = ElementTree.Element("testsuites", name=name)
    for title, cases in suites.items():
        _suite(root, title or "input", cases)
    for count in ("tests", "failures", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(finding: Finding) -> Case:
    name = f"{finding.rule} {finding.place}".strip()
    if finding.severity is Severity.INFO:
        return Case(name, "skipped", finding.message(), line=finding.line)
    story = f"{finding.path}:{finding.line}: {finding.message()}"
    return Case(name, "failure", finding.message(), finding.severity.name.lower(), story, finding.line)


def _suite(root: ElementTree.Element, title: str, cases: Sequence[Case]) -> None:
    suite = ElementTree.SubElement(root, "testsuite", name=_clean(title))
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.outcome == "failure" for case in cases)))
    suite.set("skipped", str(sum(case.outcome == "skipped" for case in cases)))
    suite.set("errors", "0")
    for case in cases:
        element = ElementTree.SubElement(suite, "testcase", classname=_clean(title), name=_clean(case.name))
        if case.line:
            element.set("line", str(case.line))
        if case.outcome != "passed":
            child = ElementTree.SubElement(element, case.outcome, message=_clean(case.message))
            if case.kind:
                child.set("type", case.kind)
            if case.text:
                child.text = _clean(case.text)


def _clean(text: str) -> str:
    """Return ``text`` without the characters XML 1.0 cannot hold."""
    return "".join(
        character
        if character in "\t\n\r"
        or " " <= character <= "\ud7ff"
        or "\ue000" <= character <= "\ufffd"
        or character >= "\U00010000"
        else "?"
        for character in text
    )
