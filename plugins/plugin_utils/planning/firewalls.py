# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Other packet filters of a host: what would make ours ineffective, what ours would cut off, what stays closed by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..audit.controls import waived_rules
from ..problems import Problem, Severity, once
from .reality import Probes

# The chain ``published`` of the role isolation: dstnat - 10.
FIRST_REDIRECTION = -110
# They answer or forward packets in the driver, before netfilter sees them.
BEFORE_NETFILTER = ("cilium",)
# Their own traffic between nodes comes in on the host itself, on ports the plan knows nothing of.
POD_NETWORKS = ("calico", "kube-proxy")
# A packet has to pass every filter, so a planned port has to be open in these as well.
CLOSING = ("firewalld", "ufw")


def conflicts(plan: Mapping[str, Any], probes: Probes, waivers: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """Return what the packet filters found on the probed hosts mean for the plan, but for what ``waivers`` cover."""
    shared: dict[tuple[str, str], list[Problem]] = {}
    for host in sorted(plan["hosts"]):
        quiet = waived_rules(waivers, host)
        probe, where = probes.get(host, {}), f"hosts.{host}"
        for problem in (*_host(where, probe), *_counting(where, probe, plan["hosts"][host])):
            if problem.rule not in quiet:
                shared.setdefault((problem.rule, problem.found), []).append(problem)
    return [once(problems) for problems in shared.values()]


def _counting(where: str, probe: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[Problem]:
    limited = any(listener["per_source"] is not None for listener in part["listeners"])
    if limited and probe.get("counts_connections") is False:
        yield Problem(
            where,
            "firewall-counts",
            "a kernel or nft that cannot count the connections of a source",
            "nft 0.9.1 or newer and the kernel's module nft_connlimit",
            "Install the module (Debian, Ubuntu: the package linux-image or linux-modules-extra of the running kernel), or set "
            "vllm_cluster.gateway.limits.connections_per_source to 0: then one source can hold all of the gateway's connections.",
        )


def _host(where: str, probe: Mapping[str, Any]) -> Iterator[Problem]:
    for table in probe.get("nftables") or []:
        for hook in table["hooks"]:
            redirects = hook["type"] == "nat" and hook["hook"] == "prerouting" and hook["priority"] < FIRST_REDIRECTION
            if redirects and not table["own"]:
                yield Problem(
                    where,
                    "firewall-before",
                    f"chain {hook['chain']} of table {table['family']} {table['name']}, "
                    f"which redirects packets at priority {hook['priority']}",
                    f"redirections at {FIRST_REDIRECTION} or later, after the planned ports were decided",
                    "Give that chain the priority dstnat (-100), or remove it.",
                )
    seen: Mapping[str, list[str]] = probe.get("firewalls") or {}
    for tool in sorted(seen):
        evidence = f"{tool} ({seen[tool][0]})"
        if tool in BEFORE_NETFILTER:
            yield Problem(
                where,
                "firewall-bypassed",
                evidence,
                "packets that pass netfilter",
                "Its programs decide before any rule of the host does. Take the host out of that network, or close the "
                "planned ports there and waive firewall-bypassed.",
            )
        elif tool in POD_NETWORKS:
            yield Problem(
                where,
                "firewall-cuts",
                evidence,
                "a host of its own for the engine or gateway",
                "Traffic of pods to this host would be dropped. Open what the node needs in vllm_cluster.admin.services and "
                "waive firewall-cuts, or take the host out of the Kubernetes cluster.",
            )
        elif tool in CLOSING:
            yield Problem(
                where,
                "firewall-beside",
                evidence,
                "planned ports that are open there too",
                f"{tool} stays as it is, and what it drops stays dropped: open the listeners of the plan in it as well.",
                Severity.WARNING,
            )
