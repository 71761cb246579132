# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings as JUnit XML: a suite for each file, a failed case for each finding."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from ..linting.finding import Finding
from ..problems import Severity


def render(findings: Sequence[Finding], read: Sequence[str] = ()) -> str:
    """Return ``<testsuites>``; notes are skipped cases, a file without findings is one passed case."""
    root = ElementTree.Element("testsuites", name="hardened.vllm lint")
    for path in sorted({*read, *(finding.path for finding in findings)}):
        _suite(root, path, [finding for finding in findings if finding.path == path])
    for name in ("tests", "failures", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(root: ElementTree.Element, path: str, findings: Sequence[Finding]) -> None:
    skipped = sum(finding.severity is Severity.INFO for finding in findings)
    suite = ElementTree.SubElement(root, "testsuite", name=_clean(path or "input"))
    suite.set("tests", str(len(findings) or 1))
    suite.set("failures", str(len(findings) - skipped))
    suite.set("skipped", str(skipped))
    suite.set("errors", "0")
    for finding in findings:
        name = f"{finding.rule} {finding.place}".strip()
        case = ElementTree.SubElement(suite, "testcase", classname=_clean(path or "input"), name=_clean(name))
        if finding.line:
            case.set("line", str(finding.line))
        kind = "skipped" if finding.severity is Severity.INFO else "failure"
        child = ElementTree.SubElement(case, kind, message=_clean(finding.message()))
        if kind == "failure":
            child.set("type", finding.severity.name.lower())
            child.text = _clean(f"{path}:{finding.line}: {finding.message()}")
    if not findings:
        ElementTree.SubElement(suite, "testcase", classname=_clean(path), name="no findings")


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
