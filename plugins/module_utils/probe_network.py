# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network facts of a host: interfaces, its own name, where the operator sits, who listens."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import sys
import threading
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.hardened.vllm.plugins.module_utils.probe_common import Unknown, read_text, run, under

TCP_LISTEN = "0A"
UDP_UNCONNECTED = "07"


def interfaces(text: Optional[str] = None) -> List[Dict[str, Any]]:
    """Interfaces from `ip -j address`: name, type, state, mtu, mac, addresses (see the module's RETURN)."""
    links = json.loads(run(["ip", "-j", "address"]) if text is None else text)
    found = []
    for link in links:
        # Some versions of iproute2 put empty objects between the links.
        if "ifname" not in link:
            continue
        addresses = [
            {
                "address": entry["local"],
                "prefix": entry["prefixlen"],
                "family": "ipv6" if entry["family"] == "inet6" else "ipv4",
                "scope": entry.get("scope", "global"),
                "tentative": bool(entry.get("tentative", False)),
            }
            for entry in link.get("addr_info", [])
            if "local" in entry
        ]
        found.append(
            {
                "name": link["ifname"],
                "type": link.get("link_type"),
                "state": str(link.get("operstate", "unknown")).lower(),
                "mtu": link.get("mtu"),
                "mac": link.get("address"),
                "addresses": addresses,
            }
        )
    return found


def address_map(links: Optional[List[Dict[str, Any]]]) -> Dict[str, str]:
    """Address to interface name, for every address of the host except link-local ones (they repeat)."""
    if links is None:
        raise Unknown("the interfaces are not known")
    return {
        entry["address"]: link["name"]
        for link in links
        for entry in link["addresses"]
        if not ipaddress.ip_address(entry["address"]).is_link_local
    }


def resolve(name: str, timeout: float = 5.0) -> List[str]:
    """Addresses `name` resolves to here, in the resolver's order; Unknown after `timeout` seconds or on failure."""
    answer: Dict[str, Any] = {}

    def ask() -> None:
        try:
            answer["found"] = socket.getaddrinfo(name, None, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            answer["error"] = str(error)

    # The resolver has no time-out of its own; a daemon thread does not hold the module up.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise Unknown("the resolver gave no answer for %s within %d seconds" % (name, timeout))
    if "error" in answer:
        raise Unknown("%s does not resolve: %s" % (name, answer["error"]))
    unique: Dict[str, None] = {}
    for entry in answer["found"]:
        unique[entry[4][0].split("%", 1)[0]] = None
    return list(unique)


def name_resolution(hostname: str, timeout: float = 5.0) -> Dict[str, Any]:
    """Return what the own host name resolves to, and whether that is loopback (then peers are told 127.0.x.x)."""
    found = resolve(hostname, timeout)
    return {"addresses": found, "loopback": any(ipaddress.ip_address(entry).is_loopback for entry in found)}


def plain_address(text: str) -> str:
    """Return an address without zone; IPv4 inside IPv6 as IPv4."""
    address = ipaddress.ip_address(text.split("%", 1)[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped if mapped is not None else address)


def operator(root: str = "/", pid: Optional[int] = None) -> Optional[Dict[str, Any]]:
    """Return the far end of the SSH connection this process lives in; None when there is none.

    sudo empties the environment, so the parents' environments are read as well, up to PID 1.
    Returns address, port (of the operator) and local_address, local_port (of this host).
    """
    current = os.getpid() if pid is None else pid
    for _step in range(64):
        if current <= 1:
            break
        base = under(root, "/proc/%d" % current)
        value = _environment(base).get("SSH_CONNECTION")
        if value:
            fields = value.split()
            if len(fields) != 4:
                raise Unknown("SSH_CONNECTION is %r, expected four fields" % value)
            return {
                "address": plain_address(fields[0]),
                "port": int(fields[1]),
                "local_address": plain_address(fields[2]),
                "local_port": int(fields[3]),
            }
        # The command name, in parentheses, may itself hold spaces and parentheses.
        current = int(read_text(base + "/stat").rpartition(")")[2].split()[1])
    return None


def _environment(base: str) -> Dict[str, str]:
    try:
        with open(base + "/environ", "rb") as handle:
            entries = handle.read().split(b"\0")
    except PermissionError:
        # A parent of another user: only its environment is hidden, its own parent may still tell.
        return {}
    except OSError as error:
        raise Unknown("%s/environ cannot be read: %s" % (base, error.strerror)) from None
    pairs = (entry.partition(b"=") for entry in entries)
    return {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, _sep, value in pairs}


def socket_address(text: str) -> Tuple[str, int]:
    """`0100007F:1F90` to ('127.0.0.1', 8080); the kernel prints 32-bit words in its own byte order."""
    words, _sep, port = text.partition(":")
    raw = bytes.fromhex(words)
    if sys.byteorder == "little":
        raw = b"".join(raw[index : index + 4][::-1] for index in range(0, len(raw), 4))
    return str(ipaddress.ip_address(raw)), int(port, 16)


def _process_names(root: str, inodes: Dict[int, None]) -> Dict[int, Dict[int, str]]:
    """Inode to {pid: process name}, for the inodes asked for and the processes we may look into."""
    owners: Dict[int, Dict[int, str]] = {}
    proc = under(root, "/proc")
    for entry in os.listdir(proc):
        if not entry.isdigit():
            continue
        try:
            links = os.listdir("%s/%s/fd" % (proc, entry))
        except OSError:  # ended meanwhile, or another user's: its sockets stay without a name
            continue
        for number in links:
            try:
                target = os.readlink("%s/%s/fd/%s" % (proc, entry, number))
            except OSError:  # closed meanwhile
                continue
            if not target.startswith("socket:["):
                continue
            inode = int(target[8:-1])
            if inode in inodes:
                try:
                    name = read_text("%s/%s/comm" % (proc, entry)).strip()
                except Unknown:  # ended meanwhile
                    continue
                owners.setdefault(inode, {})[int(entry)] = name
    return owners


def listeners(root: str = "/") -> List[Dict[str, Any]]:
    """Return listening TCP and unconnected UDP sockets: protocol, family, address, port, processes [{pid, name}]."""
    found = []
    inodes: Dict[int, None] = {}
    seen_one = False
    for protocol, wanted in (("tcp", TCP_LISTEN), ("udp", UDP_UNCONNECTED)):
        for family, suffix in (("ipv4", ""), ("ipv6", "6")):
            path = under(root, "/proc/self/net/%s%s" % (protocol, suffix))
            if not os.path.exists(path):  # a host without IPv6 has no such file
                continue
            seen_one = True
            for line in read_text(path).splitlines()[1:]:
                fields = line.split()
                if len(fields) < 10 or fields[3] != wanted:
                    continue
                address, port = socket_address(fields[1])
                inode = int(fields[9])
                inodes[inode] = None
                found.append({"protocol": protocol, "family": family, "address": address, "port": port, "inode": inode})
    if not seen_one:
        raise Unknown("/proc/self/net has no socket tables")
    owners = _process_names(root, inodes)
    for entry in found:
        names = owners.get(entry.pop("inode"), {})
        entry["processes"] = [{"pid": pid, "name": names[pid]} for pid in sorted(names)]
    return sorted(found, key=lambda entry: (entry["protocol"], entry["port"], entry["family"], entry["address"]))


def resolved(names: List[str], timeout: float = 5.0) -> Dict[str, List[str]]:
    """Name to its addresses, sorted; none when it does not resolve on this host in time."""
    found: Dict[str, List[str]] = {}
    for name in names:
        try:
            found[name] = sorted(resolve(name, timeout))
        except Unknown:  # that it has no address is the fact
            found[name] = []
    return found
