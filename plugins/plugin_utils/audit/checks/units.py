# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Units in force, not as files say: sandbox, drop-ins, start at boot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...planning.endpoint import GATEWAY_USER
from ...problems import Severity
from ..view import Absent, Looked, Said, Unchecked, View
from . import containers

FIREWALL = "hardened-vllm-firewall.service"
GATEWAY = "hardened-vllm-gateway.service"
MEDIA = "hardened-vllm-media.service"
# Property of systemctl show, the value it has to have (a set: one of these), and whether a missing one is a warning only.
CONFINED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("NoNewPrivileges", ("yes",)),
    ("ProtectSystem", ("strict",)),
    ("ProtectHome", ("yes", "tmpfs", "read-only")),
    ("PrivateTmp", ("yes", "disconnected")),
    ("ProtectKernelTunables", ("yes",)),
    ("ProtectKernelModules", ("yes",)),
    ("ProtectKernelLogs", ("yes",)),
    ("ProtectControlGroups", ("yes", "private", "strict")),
    ("ProtectClock", ("yes",)),
    ("ProtectProc", ("invisible", "ptraceable", "noaccess")),
    ("RestrictSUIDSGID", ("yes",)),
    ("RestrictRealtime", ("yes",)),
    ("LockPersonality", ("yes",)),
    ("RestrictNamespaces", ("yes", "")),
    ("AmbientCapabilities", ("", "cap_net_bind_service")),
    ("CapabilityBoundingSet", ("", "cap_net_bind_service")),
)
PRIVATE = (("UMask", ("0077",)),)
# The socket of an API is for its group too.
SHARED = (("UMask", ("0007",)),)
ENGINE_ONLY: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("PrivateUsers", ("yes", "self")),
    ("PrivateIPC", ("yes",)),
    # The second wall behind the firewall's: the unit exchanges packets with the addresses of IPAddressAllow only.
    ("IPAddressDeny", ("::/0 0.0.0.0/0", "0.0.0.0/0 ::/0")),
    ("DevicePolicy", ("closed", "strict")),
    ("LimitCORE", ("0",)),
    ("StateDirectoryMode", ("0700",)),
    ("CacheDirectoryMode", ("0700",)),
    ("RuntimeDirectoryMode", ("0700",)),
)


def _unit(view: View, control: str, name: str) -> Mapping[str, str] | Said:
    evidence = view.known("units", control=control)
    if isinstance(evidence, Unchecked):
        return evidence
    found = (evidence["units"] or {}).get(name)
    if found is None or found.get("LoadState") in ("not-found", "masked"):
        return view.finding(control, name, "no such unit", "the planned unit, running")
    return found


def _faults(
    unit: Mapping[str, str], wanted: tuple[tuple[str, tuple[str, ...]], ...], user: str
) -> Iterator[tuple[str, str, str]]:
    if unit.get("ActiveState") != "active":
        yield "state", unit.get("ActiveState", "unknown"), "active"
    if unit.get("User") != user:
        yield "User", unit.get("User") or "root", user
    for name, values in wanted:
        # An older systemd does not know the property, and so shows none.
        if name in unit and unit[name] not in values:
            yield name, unit[name] or "nothing", " or ".join(value or "nothing" for value in values)
    filters = unit.get("SystemCallFilter")
    if filters == "":
        yield "SystemCallFilter", "nothing", "a list of the calls the service needs"


def _confined(
    view: View, control: str, name: str, user: str, wanted: tuple[tuple[str, tuple[str, ...]], ...]
) -> Iterator[Said]:
    unit = _unit(view, control, name)
    if not isinstance(unit, Mapping):
        yield unit
        return
    faults = list(_faults(unit, wanted, user))
    for what, found, expected in faults:
        yield view.finding(control, f"{what} of {name}", found, expected, evidence=[f"systemctl show: {what}={found}"])
    if not faults:
        yield Looked(control, f"{name}, {len(wanted)} properties in force")


def engine_unit(view: View) -> Iterator[Said]:
    """Judge whether the sandbox of every engine is in force."""
    if not view.engines:
        yield Absent("no engine is planned here")
    for engine in view.engines:
        if containers.is_image(view):
            yield from _contained(view, engine)
            continue
        wanted = (*CONFINED, *(SHARED if engine["socket"] else PRIVATE), *ENGINE_ONLY)
        yield from _confined(view, "ENG-17", engine["unit"], engine["user"], wanted)


def _contained(view: View, engine: Mapping[str, Any]) -> Iterator[Said]:
    name = engine["unit"]
    unit = _unit(view, "ENG-17", name)
    if not isinstance(unit, Mapping):
        yield unit
        return
    # Podman is root; the user is judged at the processes.
    found = [*_faults({**unit, "User": ""}, containers.WALLS, "")]
    why = view.lacks("processes")
    inside = containers.processes(view, engine)
    if why is None and inside:
        found += dict.fromkeys(containers.faults(engine, inside))
    for what, told, expected in found:
        yield view.finding("ENG-17", f"{what} of {name}", told, expected, evidence=[f"{what}={told}"])
    unread = ["processes"] if why is not None or not inside else containers.unknown(inside)
    if unread:
        yield Unchecked(f"{name}: {', '.join(unread)} in the container could not be read", "ENG-17")
    elif not found:
        yield Looked("ENG-17", f"{name}, {len(containers.WALLS)} properties, {len(inside)} processes in the container")


def gateway_unit(view: View) -> Iterator[Said]:
    """Judge whether the sandbox of the gateway is in force."""
    if view.gateway is None:
        yield Absent("no gateway is planned here")
        return
    yield from _confined(view, "GW-09", GATEWAY, GATEWAY_USER, (*CONFINED, *PRIVATE))


def unit_files(view: View) -> Iterator[Said]:
    """Judge whether no drop-in changes a unit, systemd has read it, it starts at boot, and no engine without its firewall."""
    if view.part is None:
        yield Absent("no plan says what should run")
        return
    names = [FIREWALL, *(engine["unit"] for engine in view.engines)]
    names += [GATEWAY] if view.gateway is not None else []
    names += [MEDIA] if view.part["media"] is not None else []
    for name in names:
        unit = _unit(view, "HOST-04", name)
        if not isinstance(unit, Mapping):
            yield unit
            continue
        engine = name not in (FIREWALL, GATEWAY, MEDIA)
        if engine and containers.is_image(view) and containers.made_of(unit, name):
            # By the [Install] of the Quadlet, which systemctl enables by no other way.
            unit = {**unit, "UnitFileState": "enabled"}
        faults = list(_file_faults(unit, engine))
        for what, found, expected, severity in faults:
            yield view.finding("HOST-04", f"{what} of {name}", found, expected, severity=severity)
        if not faults:
            yield Looked("HOST-04", name)


def _file_faults(unit: Mapping[str, str], engine: bool) -> Iterator[tuple[str, str, str, Severity | None]]:
    if unit.get("DropInPaths"):
        yield "drop-ins", unit["DropInPaths"], "no drop-in: the unit file is the whole of it", None
    if unit.get("NeedDaemonReload") == "yes":
        yield "file", "changed since systemd read it", "the file systemd has read", Severity.WARNING
    if unit.get("UnitFileState") not in ("enabled", None):
        yield "start at boot", unit["UnitFileState"] or "off", "enabled", Severity.WARNING
    if engine and FIREWALL not in unit.get("Requires", FIREWALL).split():
        yield "Requires", "not the firewall", FIREWALL, None
