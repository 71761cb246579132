# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A result of an audit in which everything occurs, and one whose evidence was written by an attacker."""

from __future__ import annotations

import copy
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.judge import judge
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.waivers import read
from support import audit

PLAN = audit.plan()
HOSTILE = "<script>alert(1)</script><img src=//evil.example/x onerror=a()>\"'&{{ 7*7 }}{% x %}]]>\x1b[31m\x07"


def result(hostile: bool = False) -> dict[str, Any]:
    """A result with every outcome: failed, waived, not checked, passed, not applicable, new, still there and gone."""
    evidence = audit.evidence(PLAN)
    before = copy.deepcopy(evidence)
    host = evidence["hosts"]["engine11"]
    host["processes"][0]["environment"]["VLLM_SERVER_DEV_MODE"] = "1"
    host["units"]["hardened-vllm-engine.service"]["NoNewPrivileges"] = "no"
    host["users"] = None
    host["unknown"] = [{"fact": "users", "reason": HOSTILE if hostile else "permission denied"}]
    before["hosts"]["engine11"]["units"]["hardened-vllm-engine.service"] |= {
        "NoNewPrivileges": "no",
        "ProtectSystem": "no",
    }
    evidence["missing"] = [{"host": "far1", "part": "reach", "reason": HOSTILE if hostile else "unreachable"}]
    evidence["reach"][0]["reached"][0]["open"] = [9100]
    waivers = [
        {
            "rule": "release-old",
            "reason": f"accepted for now {HOSTILE if hostile else ''}".translate(_PRINTABLE),
            "owner": "platform team",
            "expires": "2026-12-31",
        },
        {
            "rule": "NET-05",
            "reason": "nothing of it is here",
            "expires": "2026-12-31",
            "owner": "platform team",
            "hosts": ["a"],
        },
    ]
    if hostile:
        evidence["hosts"]["engine12"]["files"].append(audit.file(f"/var/cache/vllm/{HOSTILE}", "0644", "mallory"))
        evidence["hosts"]["engine12"]["kernel"] = HOSTILE
        evidence["hosts"]["engine12"]["processes"][0]["argv"] += ["--served-model-name", HOSTILE]
        evidence["reach"][0]["observer"] = HOSTILE
    values: tuple[Any, ...] = ({"chat": PLAN}, read(waivers), {}, audit.TODAY)
    return judge(evidence, *values, judge(before, *values))  # type: ignore[arg-type]


_PRINTABLE = dict.fromkeys(range(32), "?")
