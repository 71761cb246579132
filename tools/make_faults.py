# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page docs/faults.md, from what the scenario audit found when it planted every fault; tools/make_docs.py writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.controls import controls

FILES = Path(__file__).resolve().parent.parent / "molecule/audit/files"
INTRODUCTION = """\
# Planted faults

Made by `make docs` from `molecule/audit/files`: `faults.yml` says what is planted and which controls have to find it, `found.yml` what a run of all of them
found{run}. Each of these {count} faults is planted alone into a good cluster of lab nodes; the audit has to find it by the control named
here, by those in the third column too, by exactly the findings the last run wrote down, and has to find nothing else, on no other host. Then it is taken
back. On the cluster without a fault it finds nothing. `make molecule-audit` plants those in bold, `TESTS=all make molecule-audit` all.

| fault | found by | also said by | findings | where it is seen |
|---|---|---|---|---|
"""
UNPLANTED = """
## Controls without a planted fault

| control | why | tests in which it is found |
|---|---|---|
"""


def read(name: str) -> Any:
    """Return what a file of the scenario holds."""
    return yaml.safe_load((FILES / name).read_text(encoding="utf-8"))


def page() -> str:
    """Return docs/faults.md."""
    faults, record = read("faults.yml"), read("found.yml")
    run = (
        f", with release {record['release']} on {record['date']}"
        if record["faults"]
        else "; no run is written down yet"
    )
    head = INTRODUCTION.format(count=len(faults), run=run)
    rows = "".join(_row(fault, record["faults"].get(fault["id"])) for fault in faults)
    return head + rows + UNPLANTED + "".join(_reason(one) for one in read("unplanted.yml"))


def _row(fault: dict[str, Any], found: list[str] | None) -> str:
    what = f"**{fault['what']}**" if fault.get("quick") else fault["what"]
    number = "no run yet" if found is None else len(found)
    return f"| {what} | {_link(fault['control'])} | {', '.join(fault.get('also', ()))} | {number} | {_seen(fault)} |\n"


def _seen(fault: dict[str, Any]) -> str:
    if "routes" in fault:
        return "TLS of the engines, from the gateway" if fault["routes"] == "gateway" else "routes, from outside"
    return f"ports, from {fault['reach'][0]}" if "reach" in fault else "on the host"


def _reason(one: dict[str, Any]) -> str:
    return f"| {_link(one['control'])} | {one['why']} | {', '.join(f'`{test}`' for test in one['tests'])} |\n"


def _link(control: str) -> str:
    return f"[{control}](controls.md#{control.lower()}) {controls()[control].title}"
