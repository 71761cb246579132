# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an audit asks from a place: which ports it tries, and which routes it asks of which servers.

Pure functions of what is known: the plans, the evidence of the hosts, the declared addresses. What a server is asked is in
``requests``.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import catalogue
from ..linting.rules import version as parsed
from .checks.behind import behind
from .requests import gateway_requests, open_requests, ray_requests
from .view import MEMBERS

# What listens where vLLM, Ray or their helpers run with defaults that no option of vLLM's names.
RAY_PORTS = (6379, 8265, 10001, 44217, 52365)
HELPER_PORTS = (5555, 8998, 9256, 50051, 50052)
_LOOPBACK = ("127.", "::1")


# Bridges to a host's own containers and virtual machines. From elsewhere their addresses lead to somebody else, or to nobody.
_WITHIN = re.compile(r"docker|br-|cni|podman|virbr|lxc|lxd|veth|cali|cilium|flannel|kube|weave|nerdctl")


def targets(
    place: str,
    standing: str,
    hosts: Mapping[str, Mapping[str, Any]],
    declared: Mapping[str, Sequence[str]],
    plans: Mapping[str, Mapping[str, Any]],
    ports: str = "1-65535",
) -> list[dict[str, str]]:
    """Return the targets ``audit_reach`` looks at from ``place``: ``[{host, address, tcp, udp}]``.

    ``hosts`` is the evidence by inventory name, ``declared`` the addresses the inventory names. ``ports`` is for all but members of a
    cluster, who try only what listens there, is planned or is a default of vLLM's: from each to each, all ports would be the square
    of the hosts. An address several hosts have, such as the one docker gives its bridge on each, leads elsewhere than asked: it is
    tried where the inventory names it only.
    """
    owners = Counter(address for name in {*hosts, *declared} for address in addresses(name, hosts, declared))
    found = []
    for name in sorted(set(hosts) | set(declared)):
        if name == place:
            continue
        wanted = _likely(name, hosts, plans, "tcp") if standing in MEMBERS else ports
        udp = _likely(name, hosts, plans, "udp")
        for address in addresses(name, hosts, declared):
            if owners[address] > 1 and address not in declared.get(name, ()):
                continue
            found.append({"host": name, "address": address, "tcp": wanted, "udp": udp})
    return found


def addresses(name: str, hosts: Mapping[str, Mapping[str, Any]], declared: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the addresses of a host, those it has and those the inventory names; what cannot be reached from elsewhere is left out."""
    known = {str(ipaddress.ip_address(text)) for text in declared.get(name, ())}
    interfaces = hosts.get(name, {}).get("addresses") or {}
    for space in hosts.get(name, {}).get("namespaces") or ():
        if space["host"]:
            known |= {one for one in space["addresses"] if not _WITHIN.match(interfaces.get(one, ""))}
    kept = [ipaddress.ip_address(text) for text in known]
    usable = [
        one for one in kept if not (one.is_loopback or one.is_link_local or one.is_unspecified or one.is_multicast)
    ]
    return [str(one) for one in sorted(usable, key=lambda one: (one.version, one))]


def _likely(
    name: str, hosts: Mapping[str, Mapping[str, Any]], plans: Mapping[str, Mapping[str, Any]], protocol: str
) -> str:
    """Return the ports of a host on which something listens, may listen by its plan, or listens by default."""
    parts: set[str] = set()
    if protocol == "tcp":
        parts |= {str(port) for port in (*RAY_PORTS, *HELPER_PORTS, 22, 80, 443, *catalogue.default_ports().values())}
    for listener in hosts.get(name, {}).get("listeners") or ():
        if listener["protocol"] == protocol and not listener["address"].startswith(_LOOPBACK):
            parts.add(str(listener["port"]))
    for plan in plans.values():
        for planned in plan["hosts"].get(name, {}).get("listeners", ()):
            if planned["protocol"] == protocol:
                parts |= set(_first_and_last(planned["ports"]))
    return ",".join(sorted(parts, key=int))


def _first_and_last(ports: str) -> Iterable[str]:
    # Of a range the kernel chooses from, its ends; what listens inside of it is known from the host.
    for part in ports.split(","):
        low, dash, high = part.partition("-")
        yield low
        if dash:
            yield high


def asks(
    place: str,
    hosts: Mapping[str, Mapping[str, Any]],
    plans: Mapping[str, Mapping[str, Any]],
    reach: Sequence[Mapping[str, Any]] = (),
    key: str | None = None,
    limits: bool = False,
) -> dict[str, Any]:
    """Return ``{"endpoints": [...], "requests": {set: [...]}}`` for ``audit_routes`` from ``place``.

    Asked are the gateways of the plans, and of every other host what runs vLLM, Ray or nginx, or was found open from
    ``place`` in ``reach`` and is no SSH. A gateway asks nothing, but looks at the TLS of its engines, which it alone reaches.
    ``key`` names a tenant's key that the caller has, None: requests go without a right one.
    ``limits`` tells to try whether wrong keys are slowed down.
    """
    inner = _engines_behind(place, plans)
    if inner is not None:
        return {"endpoints": inner, "requests": {}}
    endpoints: dict[tuple[str, int], dict[str, Any]] = {}
    sets: dict[str, list[dict[str, Any]]] = {}
    for cluster, plan in sorted(plans.items()):
        for name, host in sorted(plan["hosts"].items()):
            if host["gateway"] is None or name == place:
                continue
            sets.setdefault(f"gateway-{cluster}", gateway_requests(plan, host["gateway"], key, limits))
            for socket in host["gateway"]["listen"]:
                endpoints[socket["address"], socket["port"]] = {
                    "host": name,
                    **socket,
                    "server_name": host["gateway"]["server_name"],
                    "ask": [f"gateway-{cluster}"],
                }
    for name, address, port, kinds in _servers(place, hosts, reach):
        wanted = ["ray"] if "ray-dashboard" in kinds else ["vllm"]
        sets.setdefault("ray", ray_requests())
        sets.setdefault("vllm", open_requests(_release(hosts.get(name, {}))))
        endpoints.setdefault(
            (address, port), {"host": name, "address": address, "port": port, "server_name": "", "ask": wanted}
        )
    used = {name for endpoint in endpoints.values() for name in endpoint["ask"]}
    return {
        "endpoints": [endpoints[at] for at in sorted(endpoints)],
        "requests": {name: sets[name] for name in sorted(used)},
    }


def _engines_behind(place: str, plans: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]] | None:
    """Return the engines with TLS behind a planned gateway; None when ``place`` is none."""
    for plan in plans.values():
        own = plan["hosts"].get(place)
        if own is not None and own["gateway"] is not None:
            return [
                {"host": name, **engine["api"], "server_name": engine["tls"]["name"], "ask": []}
                for name, host in sorted(plan["hosts"].items())
                for engine in host["engines"]
                if engine["tls"] is not None and engine["api"]
            ]
    return None


def _servers(
    place: str,
    hosts: Mapping[str, Mapping[str, Any]],
    reach: Sequence[Mapping[str, Any]],
) -> Iterable[tuple[str, str, int, frozenset[str]]]:
    """Yield what was found open from ``place``: host, address, port and the kinds of processes known to listen there."""
    for document in reach:
        if document["observer"] != place:
            continue
        for reached in document["reached"]:
            if reached["protocol"] != "tcp":
                continue
            for port in reached["open"]:
                owners = behind(hosts.get(reached["host"], {}), reached["address"], port)
                if not any(owner["name"] == "sshd" for owner in owners) and port != 22:
                    kinds = frozenset(owner["kind"] or owner["name"] for owner in owners)
                    yield reached["host"], reached["address"], port, kinds


def _release(host: Mapping[str, Any]) -> str:
    """Return the known release nearest to the vLLM that runs on a host, the newest when none is seen."""
    for process in host.get("processes") or ():
        version = (process["versions"] or {}).get("vllm", "")
        # A host says what it likes, and shall not end the audit of the others by it.
        if parsed(version) is not None:
            return catalogue.nearest(version.partition("+")[0]).release
    return catalogue.newest()
