# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings as SARIF 2.1.0, the format of code scanning services."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from ..linting.finding import Finding
from ..linting.rules import described
from ..problems import Severity

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
HOME = "https://github.com/hardened-vllm/hardened.vllm"
LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def render(findings: Sequence[Finding], read: Sequence[str] = ()) -> str:
    """Return a SARIF log of one run with the rules its findings name."""
    ids = sorted({finding.rule for finding in findings})
    results = [_result(finding, ids.index(finding.rule)) for finding in findings]
    return document(
        [_lint_rule(name) for name in ids], results, [{"location": _location(path)} for path in sorted(set(read))]
    )


def document(rules: Sequence[Any], results: Sequence[Any], artifacts: Sequence[Any] = ()) -> str:
    """Return a SARIF log of one run, from the objects it consists of."""
    driver = {"name": "hardened.vllm", "informationUri": HOME, "rules": list(rules)}
    run = {"tool": {"driver": driver}, "artifacts": list(artifacts), "results": list(results)}
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, sort_keys=True) + "\n"


def rule(name: str, title: str, page: str = "", text: str = "") -> dict[str, Any]:
    """Return what a log says of a rule; ``page`` is a page of docs/ with a heading of its name, ``text`` its help."""
    found: dict[str, Any] = {"id": name, "shortDescription": {"text": title}}
    if page:
        found["helpUri"] = f"{HOME}/blob/main/docs/{page}#{name.lower()}"
        found["help"] = {"text": text}
    return found


def _lint_rule(name: str) -> dict[str, Any]:
    known = described().get(name)
    if known is None:
        return rule(name, name.replace("-", " ").capitalize())
    return rule(name, known.title, "rules.md", f"{known.title}. Source: {known.source}.")


def _result(finding: Finding, index: int) -> dict[str, Any]:
    # The place, not the line, says whether a finding is the one of yesterday.
    identity = "\0".join((finding.rule, finding.path, finding.place, finding.found))
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": LEVELS[finding.severity],
        "message": {"text": finding.message()},
        "partialFingerprints": {"hardenedVllm/v1": hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()},
        "properties": {"place": finding.place, "remedy": finding.remedy},
    }
    if finding.path:
        physical: dict[str, Any] = {"artifactLocation": _location(finding.path)}
        if finding.line:
            physical["region"] = {"startLine": finding.line}
        result["locations"] = [{"physicalLocation": physical}]
    return result


def _location(path: str) -> dict[str, str]:
    written = quote(path.encode("utf-8", "surrogateescape"), safe="/")
    # A relative path with a colon in its first part would read as a scheme; quote() has written it as %3A.
    return {"uri": f"file://{written}" if path.startswith("/") else written.removeprefix("./")}
