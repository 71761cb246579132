# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result for a terminal: the verdict, the findings, what could not be checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def render(result: Mapping[str, Any]) -> str:
    """Return the result as lines. What was found is foreign text: a terminal shall not act on it."""
    return "".join(f"{_plain(line)}\n" for line in _lines(result))


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield result["verdict"]["sentence"]
    for one in result["findings"]:
        marks = [mark for mark in (one["state"], "waived" if one["waived"] else "") if mark]
        told = f" ({', '.join(marks)})" if marks else ""
        rule = f" {one['rule']}" if one["rule"] else ""
        yield f"{one['severity']} [{one['control']}{rule}] {one['host']}: {one['message']}{told}"
    for one in result["outcomes"]:
        if one["outcome"] == "not checked":
            yield f"not checked [{one['control']}] {one['host']}: {'; '.join(one['why'])}"
    for one in result["missing"]:
        yield f"missing [{one['part']}] {one['host']}: {one['reason']}"
    for one in result["gone"]:
        yield f"gone [{one['control']}] {one['host']}: {one['place']}"
    for one in result["waivers"]:
        if one["state"] != "used":
            yield f"waiver {one['rule']} is {one['state']} (last day {one['expires']})"
    counted = result["summary"]["outcomes"]
    yield "controls: " + ", ".join(f"{number} {name}" for name, number in counted.items())


def _plain(line: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in line)
