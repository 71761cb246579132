# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings as annotations of GitHub workflows."""

from __future__ import annotations

from collections.abc import Sequence

from ..linting.finding import Finding
from ..problems import Severity

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def render(findings: Sequence[Finding], read: Sequence[str] = ()) -> str:
    """Return one workflow command for each finding; files without findings are not named."""
    del read
    return "".join(f"{_command(finding)}\n" for finding in findings)


def _command(finding: Finding) -> str:
    properties = {"file": finding.path, "line": str(finding.line) if finding.line else "", "title": finding.rule}
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::{_COMMANDS[finding.severity]} {written}::{_data(finding.message())}"


def _data(text: str) -> str:
    # The runner takes a line for a command, so a value must not be able to begin one.
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
