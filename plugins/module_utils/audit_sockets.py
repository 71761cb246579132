# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listening sockets of every network namespace with processes in it, containers' too, and who holds them."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Any, Dict, List, Optional

from ansible_collections.hardened.vllm.plugins.module_utils.audit_processes import Process
from ansible_collections.hardened.vllm.plugins.module_utils.probe_common import Unknown, read_optional, read_text
from ansible_collections.hardened.vllm.plugins.module_utils.probe_network import (
    TCP_LISTEN,
    UDP_UNCONNECTED,
    socket_address,
)

_TABLES = (
    ("tcp", "tcp", "ipv4", TCP_LISTEN),
    ("tcp6", "tcp", "ipv6", TCP_LISTEN),
    ("udp", "udp", "ipv4", UDP_UNCONNECTED),
    ("udp6", "udp", "ipv6", UDP_UNCONNECTED),
)
_LOCAL = re.compile(r"\|--\s+(\S+)\n\s+/32 host LOCAL")


def namespaces(proc: str, processes: Dict[int, Process], unknown: List[Dict[str, str]]) -> List[Dict[str, Any]]:
    """Return the network namespaces processes live in, that of PID 1 first."""
    own = processes[1].namespace if 1 in processes else None
    members: Dict[int, List[Process]] = {}
    hidden = 0
    for process in processes.values():
        if process.namespace is None:
            hidden += 1
        else:
            members.setdefault(process.namespace, []).append(process)
    if hidden:
        unknown.append({"fact": "namespaces", "reason": "the namespace of %d processes cannot be read" % hidden})
    found = []
    for number, inside in sorted(members.items(), key=lambda item: (item[0] != own, item[0])):
        first = min(inside, key=lambda process: process.pid)
        found.append(
            {
                "id": number,
                "host": number == own,
                "processes": len(inside),
                "pid": first.pid,
                "containers": sorted({process.container for process in inside if process.container}),
                "addresses": addresses("%s/%d/net" % (proc, first.pid)),
            }
        )
    return found


def addresses(net: str) -> List[str]:
    """Return the addresses a namespace has, loopback and link-local ones left out."""
    found = []
    for text in _LOCAL.findall(read_optional(net + "/fib_trie")):
        found.append(ipaddress.ip_address(text))
    for line in read_optional(net + "/if_inet6").splitlines():
        found.append(ipaddress.ip_address(bytes.fromhex(line.split()[0])))
    kept = {address for address in found if not address.is_loopback and not address.is_link_local}
    return [str(address) for address in sorted(kept, key=lambda address: (address.version, address))]


def listeners(
    proc: str, processes: Dict[int, Process], spaces: List[Dict[str, Any]], unknown: List[Dict[str, str]]
) -> List[Dict[str, Any]]:
    """Return listening TCP and unconnected UDP sockets of ``spaces`` with the processes that hold them."""
    found = []
    for space in spaces:
        for name, protocol, family, state in _TABLES:
            path = "%s/%d/net/%s" % (proc, space["pid"], name)
            try:
                lines = read_text(path).splitlines()[1:]
            except Unknown as error:
                if os.path.exists(path):
                    unknown.append({"fact": "listeners:%d" % space["id"], "reason": str(error)})
                continue
            found += [
                {"namespace": space["id"], "protocol": protocol, "family": family, **entry}
                for entry in (_entry(line, state) for line in lines)
                if entry is not None
            ]
    owners = _owners(proc, processes, {entry["inode"] for entry in found}, unknown)
    nameless = 0
    for entry in found:
        held = owners.get(entry.pop("inode"), [])
        nameless += not held
        entry["processes"] = [process.owner() for process in sorted(held, key=lambda process: process.pid)]
    if nameless:
        unknown.append({"fact": "listeners", "reason": "%d sockets belong to no process that can be seen" % nameless})
    # Many sockets may share a port (SO_REUSEPORT); they are told once, with all who hold one.
    merged: Dict[Any, Dict[str, Any]] = {}
    for entry in found:
        key = tuple(entry[name] for name in ("namespace", "protocol", "port", "family", "address"))
        kept = merged.setdefault(key, entry)
        kept["processes"] += [owner for owner in entry["processes"] if owner not in kept["processes"]]
    return [merged[key] for key in sorted(merged)]


def _entry(line: str, state: str) -> Optional[Dict[str, Any]]:
    fields = line.split()
    if len(fields) < 10 or fields[3] != state:
        return None
    address, port = socket_address(fields[1])
    return {"address": address, "port": port, "inode": int(fields[9])}


def _owners(
    proc: str, processes: Dict[int, Process], wanted: "set[int]", unknown: List[Dict[str, str]]
) -> Dict[int, List[Process]]:
    """Return the processes that hold each socket; sockets have one number over all namespaces."""
    owners: Dict[int, List[Process]] = {}
    refused = 0
    for pid, process in processes.items():
        base = "%s/%d/fd" % (proc, pid)
        try:
            links = os.listdir(base)
        except PermissionError:
            refused += 1
            continue
        except OSError:  # ended meanwhile
            continue
        for number in links:
            try:
                target = os.readlink("%s/%s" % (base, number))
            except OSError:  # closed meanwhile
                continue
            if target.startswith("socket:["):
                inode = int(target[8:-1])
                if inode in wanted and process not in owners.setdefault(inode, []):
                    owners[inode].append(process)
    if refused:
        unknown.append({"fact": "listeners", "reason": "the open files of %d processes cannot be read" % refused})
    return owners
