# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules that look at more than one value of a declaration."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Mapping
from typing import Any

from .. import catalogue
from ..catalogue import renames
from ..problems import Problem, Severity, did_you_mean, shown
from .kinds import Report
from .model import Declaration, PortRange
from .networks import read_block

NEEDED_NETWORKS = {"engine": ("fabric",), "gateway": ("fabric",)}


def check_release(values: Mapping[str, Any], report: Report) -> None:
    """Refuse a release whose facts are not in the catalogue."""
    release = values["release"]
    if release is not None and release not in catalogue.releases():
        report(
            Problem(
                "vllm_cluster.release",
                "release-unknown",
                shown(release),
                f"a release whose facts are known: {', '.join(catalogue.releases())}",
                "Choose one of them; nothing is assumed about the others.",
            )
        )


def check_paths(values: Mapping[str, Any], report: Report) -> None:
    """Refuse what the sandboxed service could not read (ProtectHome)."""
    paths = {
        "model.path": (values["model"] or {}).get("path"),
        "install.python": (values["install"] or {}).get("python"),
    }
    for name, path in paths.items():
        if path is not None and path.startswith(("/home/", "/root/", "/run/user/")):
            report(
                Problem(
                    f"vllm_cluster.{name}",
                    "path-out-of-reach",
                    shown(path),
                    "a path outside of /home, /root and /run/user",
                    "The service sees no home directories: move it, for example below /srv or /opt.",
                )
            )


def check_ports(engine: Mapping[str, Any], admin: Mapping[str, Any], report: Report) -> None:
    """Refuse ports that two listeners would share, and fixed ports inside the ephemeral range."""
    fixed = {
        "engine.port": engine["port"],
        "engine.master_port": engine["master_port"],
        "engine.data_parallel_port": engine["data_parallel_port"],
        "admin.ssh_port": admin["ssh_port"],
    }
    known = {name: port for name, port in fixed.items() if port is not None}
    for (left, one), (right, other) in itertools.combinations(known.items(), 2):
        if one == other:
            report(
                Problem(
                    f"vllm_cluster.{right}",
                    "port-collision",
                    f"{other}, also vllm_cluster.{left}",
                    "a port of its own",
                    f"Change {left} or {right}.",
                )
            )
    if engine["ephemeral_ports"] is None:
        return
    try:
        span = PortRange.parse(engine["ephemeral_ports"])
    except ValueError as error:
        report(
            Problem(
                "vllm_cluster.engine.ephemeral_ports",
                "bad-value",
                shown(engine["ephemeral_ports"]),
                "a range of ports between 1 and 65535, low to high",
                f"Mend it: {error}.",
            )
        )
        return
    if span.low < 1024 or span.high - span.low < 1000:
        report(
            Problem(
                "vllm_cluster.engine.ephemeral_ports",
                "out-of-range",
                str(span),
                "a range above 1023 of more than 1000 ports",
                "Every worker takes some twenty of them, and so does every outgoing connection.",
            )
        )
    for name, port in known.items():
        if span.low <= port <= span.high:
            report(
                Problem(
                    f"vllm_cluster.{name}",
                    "port-collision",
                    f"{port}, inside engine.ephemeral_ports {span}",
                    "a port outside of the ephemeral range",
                    "Move the port or the range.",
                )
            )


# Options the plan sets as soon as a section is declared; without it a user may know better.
FROM_SECTIONS = {"kv-transfer-config": ("transfer", "cache"), "kv-events-config": ("events",)}


def _owners(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the options the plan of this declaration sets itself, each with where it comes from."""
    declared = {
        flag: [section for section in sections if values[section] is not None]
        for flag, sections in FROM_SECTIONS.items()
    }
    return catalogue.owned_flags() | {flag: " and ".join(where) for flag, where in declared.items() if where}


def check_owned(values: Mapping[str, Any], report: Report) -> None:
    """Refuse options and variables the plan sets itself, so that they cannot be undone by passing them through."""
    engine, owners = values["engine"], _owners(values)
    for name in engine["arguments"] or {}:
        flag = catalogue.flag_name(name.split(".")[0].rstrip("+"))
        owner = owners.get(flag)
        if owner is not None:
            report(
                Problem(
                    f"vllm_cluster.engine.arguments.{name}",
                    "argument-owned",
                    f"--{flag}",
                    "an option the plan does not set itself",
                    _where_owned(owner),
                )
            )
        elif not catalogue.is_known_flag(flag):
            report(
                Problem(
                    f"vllm_cluster.engine.arguments.{name}",
                    "argument-unknown",
                    f"--{flag}",
                    "an option of vllm serve",
                    _history(flag, values["release"]) or did_you_mean(flag, catalogue.known_flags()),
                )
            )
    for name in engine["environment"] or {}:
        owner = catalogue.owned_variables().get(name)
        if owner is not None:
            report(
                Problem(
                    f"vllm_cluster.engine.environment.{name}",
                    "environment-owned",
                    name,
                    "a variable the plan does not set itself",
                    _where_owned(owner),
                )
            )


def _history(flag: str, release: str | None) -> str:
    return renames.told("flags", flag, release) if release in catalogue.releases() and release is not None else ""


def _where_owned(owner: str) -> str:
    return (
        "The plan always sets it: leave it out." if owner == "the plan" else f"It comes from {owner}: change it there."
    )


def check_admin(admin: Mapping[str, Any], report: Report) -> None:
    """Refuse administration from everywhere, and sources that are no blocks."""
    sources = [(f"vllm_cluster.admin.ssh_from[{index}]", text) for index, text in enumerate(admin["ssh_from"] or [])]
    for position, service in enumerate(admin["services"] or []):
        path = f"vllm_cluster.admin.services[{position}].from"
        sources += [(f"{path}[{index}]", text) for index, text in enumerate(service["from"] or [])]
    for path, text in sources:
        block = read_block(text, path, report)
        if block is not None and block.prefixlen == 0:
            report(
                Problem(
                    path,
                    "admin-everyone",
                    str(block),
                    "the networks administrators come from",
                    "Name them; the whole internet is not one of them.",
                )
            )


def check_hosts(declaration: Declaration, report: Report) -> None:
    """Ask for at least one engine and one gateway, each with the legs its work needs."""
    for role, group in (("engine", "vllm_nodes"), ("gateway", "vllm_gateways")):
        members = declaration.with_role(role)
        if not members:
            report(
                Problem(
                    f"groups.{group}",
                    "host-missing",
                    "no host",
                    f"at least one {role}",
                    f"Add a host of cluster {declaration.name} to the group {group}.",
                )
            )
        wanted = set(NEEDED_NETWORKS[role])
        if role == "gateway" and declaration.values["gateway"]["network"] is not None:
            wanted.add(declaration.values["gateway"]["network"])
        for host in members:
            for network in sorted(wanted - host.declared):
                report(
                    Problem(
                        f"hosts.{host.name}.vllm_node.addresses.{network}",
                        "address-missing",
                        "no usable address",
                        f"the {role}'s address on the {network} network",
                        "Declare it for this host.",
                    )
                )
    _check_families(declaration, report)


def _check_families(declaration: Declaration, report: Report) -> None:
    legs = [
        (host, host.legs["fabric"])
        for role in ("engine", "gateway")
        for host in declaration.with_role(role)
        if "fabric" in host.legs
    ]
    if len({leg.primary.version for _host, leg in legs}) > 1:
        odd = next(host.name for host, leg in legs if leg.primary.version == 6)
        report(
            Problem(
                f"hosts.{odd}.vllm_node.addresses.fabric",
                "address-family",
                "an IPv6 address only",
                "fabric addresses of one family on every host",
                "Give every host an IPv4 or an IPv6 one.",
            )
        )


def check_waivers(waivers: list[Mapping[str, Any]], today: datetime.date, report: Report) -> None:
    """Refuse waivers that are over or whose date is none; they would hide findings for ever."""
    for index, waiver in enumerate(waivers):
        path = f"vllm_cluster.waivers[{index}].expires"
        try:
            last = datetime.date.fromisoformat(waiver["expires"] or "")
        except ValueError:
            if waiver["expires"] is not None:
                report(Problem(path, "bad-value", shown(waiver["expires"]), "a date that exists", "Mend the date."))
            continue
        if last < today:
            report(
                Problem(
                    path,
                    "waiver-expired",
                    str(last),
                    f"a day from {today} on",
                    "Mend what it waived, or judge it anew and set a later day.",
                    Severity.ERROR,
                )
            )
