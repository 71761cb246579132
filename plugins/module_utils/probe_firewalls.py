# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packet filters a host already has, each with the evidence for it."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Dict, List, Optional

from ansible_collections.hardened.vllm.plugins.module_utils.probe_common import (
    Unknown,
    read_optional,
    run,
    under,
)

OWN_TABLE = "hardened_vllm"
# Checked and never loaded. The kernel alone knows whether it can count.
COUNTING = """
table inet hardened_vllm_probe {
    set held { type ipv4_addr; size 16; flags dynamic; }
    chain counting { add @held { ip saddr ct count over 1 } drop; }
}
"""

# Fingerprints that tools leave in nftables (their own tables, or chains of iptables-nft), as (tool, what, pattern).
CHAINS = (
    ("ufw", re.compile(r"^ufw6?-")),
    ("docker", re.compile(r"^DOCKER(-|$)")),
    ("podman", re.compile(r"^NETAVARK")),
    ("kube-proxy", re.compile(r"^KUBE-")),
    ("libvirt", re.compile(r"^LIBVIRT_")),
)
TABLES = (
    ("firewalld", re.compile(r"^firewalld$")),
    ("docker", re.compile(r"^docker-bridges$")),
    ("podman", re.compile(r"^netavark$")),
    ("kube-proxy", re.compile(r"^kube-proxy$")),
)
PROCESSES = {
    "firewalld": "firewalld",
    "dockerd": "docker",
    "kube-proxy": "kube-proxy",
    "kubelet": "kube-proxy",
    "cilium-agent": "cilium",
    "calico-node": "calico",
    "fail2ban-server": "fail2ban",
    "crowdsec": "crowdsec",
}
INTERFACES = (
    ("docker", re.compile(r"^(docker0|br-[0-9a-f]{12})$")),
    ("podman", re.compile(r"^(podman|cni-podman)[0-9]+$")),
    ("kube-proxy", re.compile(r"^kube-ipvs0$")),
    ("cilium", re.compile(r"^cilium_")),
    ("calico", re.compile(r"^cali[0-9a-f]{11}$")),
)


def ruleset_objects() -> List[Dict[str, Any]]:
    """Tables and chains of the kernel, as nft's JSON objects."""
    objects = json.loads(run(["nft", "-j", "list", "chains"]))["nftables"]
    tables = json.loads(run(["nft", "-j", "list", "tables"]))["nftables"]
    return [entry for entry in tables + objects if "table" in entry or "chain" in entry]


def counts_connections() -> bool:
    """Whether this host's nft and kernel can count the connections of each source (``ct count``, nft_connlimit)."""
    try:
        run(["nft", "-c", "list", "tables"])
        descriptor = os.memfd_create("hardened-vllm-probe", 0)
    except OSError as error:
        raise Unknown("no file in memory for nft: %s" % error.strerror) from None
    try:
        os.write(descriptor, COUNTING.encode("ascii"))
        run(["nft", "-c", "-f", "/proc/%d/fd/%d" % (os.getpid(), descriptor)])
    except Unknown as error:
        if "ended with code" not in str(error):
            raise
        return False
    finally:
        os.close(descriptor)
    return True


def tables(objects: Optional[List[Dict[str, Any]]]) -> List[Dict[str, Any]]:
    """Nftables tables: family, name, own (ours or not), hooks ([{chain, type, hook, priority, policy}] of base chains)."""
    if objects is None:
        raise Unknown("nftables could not be asked")
    found = []
    for entry in objects:
        if "table" not in entry:
            continue
        table = entry["table"]
        hooks = [
            {
                "chain": other["chain"]["name"],
                "type": other["chain"]["type"],
                "hook": other["chain"]["hook"],
                "priority": other["chain"]["prio"],
                "policy": other["chain"].get("policy"),
            }
            for other in objects
            if "chain" in other
            and "hook" in other["chain"]
            and (other["chain"]["family"], other["chain"]["table"]) == (table["family"], table["name"])
        ]
        found.append(
            {
                "family": table["family"],
                "name": table["name"],
                "hooks": hooks,
                "own": (table["family"], table["name"]) == ("inet", OWN_TABLE),
            }
        )
    return found


def other_firewalls(
    root: str, objects: Optional[List[Dict[str, Any]]], links: Optional[List[Dict[str, Any]]]
) -> Dict[str, List[str]]:
    """Tool name to evidence strings, for every packet filter tool (not ours) seen on the host."""
    found: Dict[str, List[str]] = {}

    def note(tool: str, evidence: str) -> None:
        if evidence not in found.setdefault(tool, []):
            found[tool].append(evidence)

    for entry in objects or []:
        kind = "chain" if "chain" in entry else "table"
        name, family = entry[kind]["name"], entry[kind]["family"]
        for tool, pattern in CHAINS if kind == "chain" else TABLES:
            if pattern.match(name):
                note(tool, "nftables %s %s %s" % (kind, family, name))
                break
    for link in links or []:
        for tool, pattern in INTERFACES:
            if pattern.match(link["name"]):
                note(tool, "interface %s" % link["name"])
    for name in _process_names(root):
        if name in PROCESSES:
            note(PROCESSES[name], "process %s" % name)
    if _file_matches(root, "/etc/ufw/ufw.conf", r"(?m)^\s*ENABLED\s*=\s*[\"']?yes"):
        note("ufw", "/etc/ufw/ufw.conf says ENABLED=yes")
    if os.path.exists(under(root, "/run/docker.sock")):
        note("docker", "/run/docker.sock")
    # nftables.service empties the whole rule set when it starts, stops or reloads.
    if os.path.islink(under(root, "/etc/systemd/system/sysinit.target.wants/nftables.service")):
        note("nftables.service", "enabled at boot")
        if _file_matches(root, "/etc/nftables.conf", r"(?m)^\s*flush\s+ruleset"):
            note("nftables.service", "/etc/nftables.conf starts with flush ruleset")
    for names, label in (("/proc/net/ip_tables_names", "IPv4"), ("/proc/net/ip6_tables_names", "IPv6")):
        text = read_optional(under(root, names))
        for table in text.split():
            note("iptables-legacy", "%s table %s" % (label, table))
    return {tool: found[tool] for tool in sorted(found)}


def _file_matches(root: str, path: str, pattern: str) -> bool:
    return re.search(pattern, read_optional(under(root, path))) is not None


def _process_names(root: str) -> List[str]:
    proc = under(root, "/proc")
    return sorted(
        {read_optional("%s/%s/comm" % (proc, entry)).strip() for entry in os.listdir(proc) if entry.isdigit()}
    )
