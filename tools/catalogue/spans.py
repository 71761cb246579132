# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts of many releases as ranges: each entry once, for as long as it stays the same."""

from __future__ import annotations

import json
from typing import Any

# Where something stands moves more often than what it is: the newest place is kept.
NOT_COMPARED = ("file",)


def merge(releases: list[str], facts: dict[str, dict[str, dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Return name to ranges ``{"since", "until", attributes...}`` from release to name to attributes.

    ``since`` is the first release of a range and ``until`` the first one after it, None while it lasts.
    """
    names = sorted({name for entries in facts.values() for name in entries})
    return {name: _ranges(releases, [facts[release].get(name) for release in releases]) for name in names}


def _ranges(releases: list[str], values: list[dict[str, Any] | None]) -> list[dict[str, Any]]:
    ranges: list[dict[str, Any]] = []
    last: dict[str, Any] | None = None
    for release, value in zip(releases, values, strict=True):
        if value is not None and last is not None and _compared(value) == _compared(last):
            ranges[-1] |= value
        else:
            if last is not None:
                ranges[-1]["until"] = release
            if value is not None:
                ranges.append({"since": release, "until": None, **value})
        last = value
    return ranges


def _compared(value: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name not in NOT_COMPARED}


def dump(entries: dict[str, list[dict[str, Any]]]) -> str:
    """Return ``entries`` as JSON with one name a line, so that a diff shows what changed."""
    lines = [
        f"{json.dumps(name)}: {json.dumps(ranges, sort_keys=True, separators=(',', ':'), ensure_ascii=True)}"
        for name, ranges in sorted(entries.items())
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"
