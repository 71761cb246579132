# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..linting.finding import Finding
from ..problems import Severity


def render(findings: Sequence[Finding], read: Sequence[str] = ()) -> str:
    """Return ``{"format": 1, "files": [...], "summary": {severity: count}, "findings": [...]}``.

    A finding has rule, severity, path, line (null when none is known), place, found, expected, remedy and message.
    """
    counted = {severity.name.lower(): sum(one.severity is severity for one in findings) for severity in Severity}
    report = {
        "format": 1,
        "files": sorted({*read, *(finding.path for finding in findings if finding.path)}),
        "summary": counted,
        "findings": [finding.as_dict() for finding in findings],
    }
    return json.dumps(report, indent=2, sort_keys=True) + "\n"
