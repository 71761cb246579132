# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sockets, kernel settings, devices and accounts of a host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...planning.endpoint import GATEWAY_USER
from ...planning.engine import USER
from ...planning.media import USER as MEDIA_USER
from ...problems import Severity
from ..evidence import Account, Listener
from ..ranges import in_ports
from ..view import Absent, Looked, Said, Unchecked, View, is_loopback

# Clients of DHCP and time listen without being services.
CLIENTS = (68, 123, 323, 546)
NO_LOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false")
POWERFUL = ("root", "sudo", "wheel", "adm", "docker", "podman", "lxd", "libvirt", "disk", "shadow")


def declared_addresses(view: View) -> Iterator[Said]:
    """Judge whether the host has every address its plan names."""
    if view.part is None:
        yield Absent("no plan says which addresses it should have")
        return
    evidence = view.known("addresses")
    if isinstance(evidence, Unchecked):
        yield evidence
        return
    own = evidence["addresses"] or {}
    for network, pair in sorted(view.part["addresses"].items()):
        for address in sorted(one for one in pair.values() if one is not None):
            if address in own:
                yield Looked("NET-15", f"{address} on {own[address]}")
            else:
                found = f"no interface with {address}"
                yield view.finding(
                    "NET-15", f"address on {network}", found, f"{address}, as vllm_node.addresses declares"
                )


def listening_sockets(view: View) -> Iterator[Said]:
    """Judge whether every socket beyond loopback is a planned listener, where the plan binds it."""
    if view.part is None:
        yield Absent("no plan says what should listen")
        return
    evidence = view.known("listeners", "namespaces")
    if isinstance(evidence, Unchecked):
        yield evidence
        return
    own = {space["id"] for space in evidence["namespaces"] or [] if space["host"]}
    looked = 0
    for socket in evidence["listeners"] or []:
        client = socket["protocol"] == "udp" and socket["port"] in CLIENTS
        if socket["namespace"] not in own or is_loopback(socket["address"]) or client:
            continue
        looked += 1
        yield from _socket(view, socket)
    yield Looked("NET-12", f"{looked} sockets beyond loopback")


def _socket(view: View, socket: Listener) -> Iterator[Said]:
    listeners = [
        one
        for one in view.listeners()
        if one["protocol"] == socket["protocol"] and in_ports(socket["port"], one["ports"])
    ]
    owner = socket["processes"][0] if socket["processes"] else None
    who = (
        f"{owner['name']}, user {owner['user'] or owner['uid']}, {owner['unit'] or owner['container'] or 'no unit'}"
        if owner
        else "unknown"
    )
    where = f"{socket['protocol']} {socket['port']} on {socket['address']}"
    severity = Severity.ERROR if owner is not None and owner["kind"] is not None else None
    if not listeners:
        if owner is not None and owner["kind"] is not None and _of_libraries(view, socket):
            return
        yield view.finding(
            "NET-12",
            where,
            f"a socket of {owner['name'] if owner else 'an unknown process'}",
            "planned listeners only",
            severity=severity,
            evidence=[f"{where}: {who}"],
        )
        return
    bound = [one for one in listeners if one["bind"] not in ("*", socket["address"])]
    if len(bound) == len(listeners):
        yield view.finding(
            "NET-12",
            where,
            f"{listeners[0]['name']} on {socket['address']}",
            f"it on {listeners[0]['bind']} only",
            severity=severity,
            evidence=[f"{where}: {who}"],
        )


def _of_libraries(view: View, socket: Listener) -> bool:
    """Tell whether an engine's libraries make such a socket for themselves, which the firewall lets nobody come to.

    gloo listens on the fabric address for each worker, also of an engine that is one node and has no peers.
    """
    if socket["protocol"] == "udp":
        return True
    part = view.part or {}
    return (
        part["egress"] is not None
        and socket["address"] in part["addresses"]["fabric"].values()
        and in_ports(socket["port"], part["egress"]["own_ports"])
    )


def kernel_settings(view: View) -> Iterator[Said]:
    """Judge whether the planned kernel settings are in force."""
    if view.part is None or not view.part["sysctl"]:
        yield Absent("no kernel setting is planned here")
        return
    evidence = view.known("sysctl")
    if isinstance(evidence, Unchecked):
        yield evidence
        return
    found: Mapping[str, str | None] = evidence["sysctl"] or {}
    for name, wanted in sorted(view.part["sysctl"].items()):
        if name not in found:
            yield Unchecked(f"{name} was not read")
        elif _words(found[name]) == _words(wanted):
            yield Looked("NET-11", f"{name} = {wanted}")
        else:
            yield view.finding("NET-11", name, str(found[name]), wanted)


def _words(value: str | None) -> list[str]:
    return sorted((value or "").replace(",", " ").split())


def rdma_devices(view: View) -> Iterator[Said]:
    """Judge whether RDMA devices, which pass every packet filter, are isolated by something that is named."""
    evidence = view.known("rdma_devices")
    if isinstance(evidence, Unchecked):
        yield evidence
        return
    names = sorted(str(device.get("name", device)) for device in evidence["rdma_devices"] or [])
    if not names:
        yield Looked("NET-13", "no RDMA device")
    elif view.plan is not None and view.plan.get("rdma_isolated_by"):
        yield Looked("NET-13", f"{', '.join(names)}, isolated by {view.plan['rdma_isolated_by']} as declared")
    else:
        yield view.finding(
            "NET-13",
            "RDMA devices",
            ", ".join(names),
            "a name for what isolates them",
            severity=None if view.part is not None else Severity.WARNING,
        )


def service_accounts(view: View) -> Iterator[Said]:
    """Judge whether accounts that services run as are for nothing else."""
    evidence = view.known("users")
    if isinstance(evidence, Unchecked):
        yield evidence
        return
    names = _wanted(view)
    if not names:
        yield Absent("no vLLM is planned or running here")
        return
    known = {account["name"]: account for account in evidence["users"] or []}
    for name in names:
        account = known.get(name)
        if account is None:
            yield view.finding("HOST-03", f"account {name}", "no such account", "an account of the service's own")
            continue
        faults = list(_account_faults(account))
        for what, found, expected in faults:
            yield view.finding(
                "HOST-03",
                f"{what} of account {name}",
                found,
                expected,
                severity=None if view.part is not None else Severity.WARNING,
            )
        if not faults:
            yield Looked("HOST-03", f"account {name}")


def _wanted(view: View) -> Sequence[str]:
    if view.part is None:
        return sorted(
            {process["user"] for process in view.processes() if process["user"] not in (None, "root")} - {None}
        )
    found = [str(engine["user"]) for engine in view.engines] or ([USER] if view.part["ray"] is not None else [])
    found += [GATEWAY_USER] if view.gateway is not None else []
    found += [MEDIA_USER] if view.part["media"] is not None else []
    return sorted(set(found))


def _account_faults(account: Account) -> Iterator[tuple[str, str, str]]:
    if account["uid"] == 0:
        yield "number", "0, which is root", "a number of its own"
    if account["shell"] not in NO_LOGIN:
        yield "shell", account["shell"] or "none, which means /bin/sh", "a shell that ends at once"
    if account["password"] in ("set", "empty"):
        yield "password", account["password"], "a locked one"
    groups = sorted(set(account["groups"]) & set(POWERFUL))
    if groups:
        yield "groups", ", ".join(groups), "no group that has rights of its own"


def user_rights(mode: str) -> tuple[int, int]:
    """Return the rights of group and of others out of an octal text."""
    number = int(mode, 8)
    return (number >> 3) & 7, number & 7


def shown_file(file: Mapping[str, Any]) -> str:
    """Return mode and owner of a file as ``0644 root:vllm``."""
    return f"{file['mode']} {file['owner'] or file['uid']}:{file['group'] or file['gid']}"
