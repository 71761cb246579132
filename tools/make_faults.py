# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page docs/faults.md, from the faults the scenario audit plants; tools/make_docs.py writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.controls import controls

FAULTS = Path(__file__).resolve().parent.parent / "molecule/audit/files/faults.yml"
INTRODUCTION = """\
# Planted faults

Made from `molecule/audit/files/faults.yml` by `make docs`. Each of these {count} faults is planted alone into a good cluster of lab nodes; the audit has
to find it by the control named here, may say it by those in the third column too, and has to find nothing else, on no other host. Then it is taken back. On the
cluster without a fault it finds nothing. `make molecule-audit` plants those in bold, `AUDIT_FAULTS=all make molecule-audit` all.

| fault | found by | also said by | where it is seen |
|---|---|---|---|
"""


def page() -> str:
    """Return docs/faults.md."""
    faults = yaml.safe_load(FAULTS.read_text(encoding="utf-8"))
    return INTRODUCTION.format(count=len(faults)) + "".join(_row(fault) for fault in faults)


def _row(fault: dict[str, Any]) -> str:
    title = controls()[fault["control"]].title
    what = f"**{fault['what']}**" if fault.get("quick") else fault["what"]
    seen = (
        "routes, from outside"
        if fault.get("routes")
        else f"ports, from {fault['reach'][0]}"
        if "reach" in fault
        else "on the host"
    )
    link = f"[{fault['control']}](controls.md#{fault['control'].lower()}) {title}"
    return f"| {what} | {link} | {', '.join(fault.get('also', ()))} | {seen} |\n"
