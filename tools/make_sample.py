# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page docs/sample-audit.md, from the evidence in docs/sample/evidence.json; tools/make_docs.py writes it.

The evidence is what the scenario sample collected, without what is particular to the machine it ran on:

Usage: PYTHONPATH=.cache:tests python tools/make_sample.py .lab/sample/reports/evidence.json
"""

from __future__ import annotations

import datetime
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import judged
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.controls import controls, recommendations
from ansible_collections.hardened.vllm.plugins.plugin_utils.report.audit.formats import FORMATS

DATA = Path(__file__).resolve().parent.parent / "docs/sample/evidence.json"
TAKEN = "2026-11-25T12:00:00Z"
# Addresses and places of the lab, and what stands for them in the data.
PLACES = (
    (re.compile(r"\b10\.233\.3\."), "192.0.2."),
    (re.compile(r"\b10\.233\.2\."), "198.51.100."),
    (re.compile(r"\bfe80::[0-9a-f:]+"), "fe80::1"),
    (re.compile(r"/opt/vllm-lab\b"), "/opt/vllm"),
    (re.compile(r"/opt/models/tiny\b"), "/srv/models/tiny"),
    (re.compile(r"\b[A-Z][a-z]{2} 2[0-9]{3}-[0-9-]{5} [0-9:]{8} UTC"), "Wed 2026-11-25 12:00:00 UTC"),
)
_FIRST_NAMESPACE = 4026531840
TIMES = ("taken", "booted", "started", "modified", "changed")
INTRODUCTION = """\
# A sample: vLLM as its documentation starts it

What the audit says of vLLM 0.32.0 started with `vllm serve MODEL`, and of another host on which nginx stands in front of it with the
configuration of vLLM's page ["Using Nginx"](https://docs.vllm.ai/en/latest/deployment/nginx.html). Neither host was declared or touched by
this collection; a third one, outside, looked. The vLLM is a real one on a CPU with a tiny model (`molecule/sample`).

Made from [the evidence](sample/evidence.json) by `make docs`: the judge of today judges it, so the page is what the audit says now.
Addresses, paths, times, durations and sizes are replaced in it, and disguised or wrongly keyed requests nothing answered (404) are left out, nothing else; a
test of the scenario collects it again and compares.

**{sentence}**
"""
WARNED = """
## What vLLM's security guide warns of, and was found

| control | found | where, the first | the guide says |
|---|---|---|---|
"""
OPEN = """
## Routes that ran without a key

| route | vLLM's own port | through nginx |
|---|---|---|
"""
WHOLE = """
## The report for the terminal

```text
{text}```
"""


def reduced(value: Any, key: str = "") -> Any:
    """Return evidence without what is particular to a lab: its addresses, paths, times, durations and sizes."""
    if isinstance(value, Mapping):
        return {reduced(name): reduced(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [reduced(inner, key) for inner in value]
    if key == "kernel":
        return "6.1.0"
    if isinstance(value, str):
        return TAKEN if key in TIMES and value else _replaced(value)
    # Numbers of network namespaces are the kernel's; these hosts have one each.
    if isinstance(value, int) and value > _FIRST_NAMESPACE:
        return 1
    return 0.0 if key == "seconds" else 0 if key == "bytes" else value


def without_silence(evidence: Any) -> Any:
    """Return evidence without the answers that make the file long and say nothing: to what is no route, asked in other ways than plainly without a key."""
    for seen in evidence["routes"]:
        seen["answers"] = [
            one
            for one in seen["answers"]
            if one["status"] != 404 or (one["form"], one["key"]) in (("plain", "none"), ("foreign origin", "none"))
        ]
    return evidence


def _replaced(text: str) -> str:
    for pattern, by in PLACES:
        text = pattern.sub(by, text)
    return text


def result() -> dict[str, Any]:
    """Return what the judge says of the data."""
    evidence = json.loads(DATA.read_text(encoding="utf-8"))
    return judged(evidence, {}, [], {}, datetime.date.fromisoformat(TAKEN[:10]))


def page() -> str:
    """Return docs/sample-audit.md."""
    found = result()
    parts = [INTRODUCTION.format(sentence=found["verdict"]["sentence"]), WARNED, *_warned(found), OPEN, *_open(found)]
    return "".join([*parts, WHOLE.format(text=FORMATS["text"](found))])


def _warned(found: Mapping[str, Any]) -> Iterator[str]:
    for control in controls().values():
        mine = [one for one in found["findings"] if one["control"] == control.id]
        if mine:
            said = "; ".join(recommendations()[name].text for name in control.guide) or control.fact
            first = f"{mine[0]['host']}: {mine[0]['place']}"
            link = f"[{control.id}](controls.md#{control.id.lower()}) {control.title}"
            yield f"| {link} | {len(mine)} | {_cell(first)} | {_cell(said)} |\n"


def _open(found: Mapping[str, Any]) -> Iterator[str]:
    ports: dict[str, set[str]] = {}
    for one in found["findings"]:
        place = re.fullmatch(r"(\S+ \S+) at \S+ port ([0-9]+)", one["place"])
        if one["control"] == "OUT-02" and place is not None:
            ports.setdefault(place[1], set()).add(place[2])
    for route, seen in sorted(ports.items(), key=lambda entry: entry[0].split(" ")[::-1]):
        yield f"| `{route}` | {'open' if '8000' in seen else ''} | {'open' if '80' in seen else ''} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> int:
    """Write the data from the evidence named on the command line."""
    evidence = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    DATA.parent.mkdir(exist_ok=True)
    text = json.dumps(without_silence(reduced(evidence)), indent=1, sort_keys=True)
    # What holds nothing but values is one line.
    flat = re.sub(r"[\[{]\n[^\[\]{}]*?\n\s*[\]}]", lambda found: re.sub(r"\n\s*", " ", found[0]), text)
    DATA.write_text(flat + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
