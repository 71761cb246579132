# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan in words, for people who are about to apply it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, islice
from typing import Any

# How many addresses of a listener's sources are named.
SHOWN = 6


def explain(plan: Mapping[str, Any]) -> list[str]:
    """Return the plan as lines: what runs where, who may reach what and why. Everything not named is closed."""
    lines = [f"cluster {plan['cluster']}: vLLM {plan['release']}, {plan['topology'].replace('_', ' ')}"]
    for name, host in sorted(plan["hosts"].items()):
        lines.append(f"{name}: {_work(host, plan['members'])}")
        lines += [f"  {_listener(listener, plan['sets'])}" for listener in host["listeners"]]
    lines.append("everything else is closed")
    return lines


def _work(host: Mapping[str, Any], members: Mapping[str, list[str]]) -> str:
    parts = []
    if host["ray"] is not None:
        parts.append(f"Ray {'head' if host['ray']['head'] else 'worker'} of engine {host['ray']['group_name']}")
    for engine in host["engines"]:
        group = engine["group_name"]
        place = f"{engine['name']}: node {engine['rank']} of {group} ({len(members[group])} node(s))"
        place += f", serves {engine['model']}{_door(engine)}" if engine["api"] else ", no HTTP"
        parts.append(f"{place}, {_memory(engine)}")
    if host["gateway"] is not None:
        tenants = ", ".join(tenant["name"] for tenant in host["gateway"]["tenants"])
        parts.append(f"gateway {host['gateway']['server_name']} for {tenants}")
    return "; ".join(parts)


def _memory(engine: Mapping[str, Any]) -> str:
    # No size fits every model, so none is the default; without one the whole host may run out of memory.
    return (
        f"{engine['memory_max']} of memory at most"
        if engine["memory_max"]
        else "memory without limit (engine.memory_max)"
    )


def _door(engine: Mapping[str, Any]) -> str:
    return f" to the gateway of this host at {engine['api']['socket']}" if engine["socket"] else ""


def _listener(listener: Mapping[str, Any], sets: Mapping[str, Mapping[str, list[str]]]) -> str:
    families = [sets[name][family] for name in listener["from"] for family in ("ipv4", "ipv6")]
    more = sum(len(sources) for sources in families) - SHOWN
    shown = ", ".join(islice(chain.from_iterable(families), SHOWN)) + (f" and {more} more" if more > 0 else "")
    where = f"{listener['network']} ({listener['interface']})" if listener["network"] else "any interface"
    return (
        f"[{listener['control']}] {listener['protocol']} {listener['ports']} on {where} "
        f"open to {'/'.join(listener['from'])}: {shown}. {listener['why']}"
    )
