# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result as one page that needs nothing else: no script, no image, no request."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...audit.controls import controls, recommendations
from ...audit.result import OUTCOMES
from ...problems import Severity

with contextlib.suppress(ImportError):  # ansible-core needs it; only the bare interpreter of ansible-test lacks it
    import jinja2

TEMPLATE = Path(__file__).with_name("page.html.j2")
_SEVERITIES = {"error": "Errors", "warning": "Warnings", "info": "Notes"}


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def render(result: Mapping[str, Any]) -> str:
    """Return the page. Every text in it is escaped, whatever was found."""
    by_severity = {
        heading: [one for one in result["findings"] if one["severity"] == severity and not one["waived"]]
        for severity, heading in _SEVERITIES.items()
    }
    return str(
        _template().render(
            result=result,
            controls=controls(),
            recommendations=recommendations(),
            severities=by_severity,
            waived=[one for one in result["findings"] if one["waived"]],
            outcomes={name: _by_control(result["outcomes"], name) for name in OUTCOMES},
            matrices=_matrices(result["matrix"]),
            standings={one["name"]: one["standing"] for one in result["places"]},
            levels=[severity.name.lower() for severity in reversed(Severity)],
        )
    )


def _by_control(outcomes: Sequence[Mapping[str, Any]], name: str) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Return the outcomes called ``name`` as ``(control, outcomes on hosts)``, in the order of the registry."""
    mine = [one for one in outcomes if one["outcome"] == name]
    grouped = {control: [one for one in mine if one["control"] == control] for control in controls()}
    return [(control, found) for control, found in grouped.items() if found]


def _matrices(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str], list[Mapping[str, Any]]]]:
    """Return a table for each host: its name, the places that looked, the rows."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["host"], []).append(row)
    return [(host, list(mine[0]["cells"]), mine) for host, mine in found.items()]
