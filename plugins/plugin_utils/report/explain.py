# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan in words, for people who are about to apply it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def explain(plan: Mapping[str, Any]) -> list[str]:
    """Return the plan as lines: what runs where, who may reach what and why. Everything not named is closed."""
    lines = [f"cluster {plan['cluster']}: vLLM {plan['release']}, {plan['topology'].replace('_', ' ')}"]
    for name, host in sorted(plan["hosts"].items()):
        lines.append(f"{name}: {_work(host)}")
        lines += [f"  {_listener(listener, plan['sets'])}" for listener in host["listeners"]]
    lines.append("everything else is closed")
    return lines


def _work(host: Mapping[str, Any]) -> str:
    parts = []
    if host["ray"] is not None:
        parts.append(f"Ray {'head' if host['ray']['head'] else 'worker'} of engine {host['ray']['group_name']}")
    for engine in host["engines"]:
        place = f"{engine['name']}: node {engine['rank']} of {engine['group_name']} ({len(engine['members'])} node(s))"
        parts.append(f"{place}, serves {engine['model']}" if engine["api"] else f"{place}, no HTTP")
    if host["gateway"] is not None:
        tenants = ", ".join(tenant["name"] for tenant in host["gateway"]["tenants"])
        parts.append(f"gateway {host['gateway']['server_name']} for {tenants}")
    return "; ".join(parts)


def _listener(listener: Mapping[str, Any], sets: Mapping[str, Mapping[str, list[str]]]) -> str:
    sources = [source for name in listener["from"] for family in ("ipv4", "ipv6") for source in sets[name][family]]
    shown = ", ".join(sources[:6]) + (f" and {len(sources) - 6} more" if len(sources) > 6 else "")
    where = f"{listener['network']} ({listener['interface']})" if listener["network"] else "any interface"
    return (
        f"[{listener['control']}] {listener['protocol']} {listener['ports']} on {where} "
        f"open to {'/'.join(listener['from'])}: {shown}. {listener['why']}"
    )
