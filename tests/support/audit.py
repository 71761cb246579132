# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The evidence an audit would collect of a cluster that is as planned, to be spoilt by the tests."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan as make_plan
from support.topologies import declaration

TODAY = datetime.date(2026, 11, 25)
TAKEN = "2026-11-25T12:00:00Z"
KEY = "sk-planted-0123456789abcdef"
OBSERVER = "192.0.2.7"
MONITOR = "10.21.1.30"
EVERY = "1-65535"


def plan(topology: str = "data parallel, internal", *, monitors: bool = False, **changes: Any) -> dict[str, Any]:
    """Return the plan of a cluster with two engine hosts and a gateway, and on request a monitor."""
    cluster, hosts = declaration(topology, (11, 12))
    if monitors:
        hosts["monitor1"] = {"roles": ["monitor"], "node": {"addresses": {"management": [MONITOR]}}}
    made = make_plan({**cluster, **changes}, hosts, TODAY)
    for host in made["hosts"].values():  # as a probe would have found them
        host["interfaces"] = {name: f"{name}0" for name in host["interfaces"]}
        for listener in host["listeners"]:
            listener["interface"] = f"{listener['network']}0" if listener["network"] else None
    return made


def evidence(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return evidence in which everything is as planned."""
    gateway = made["hosts"]["gateway1"]
    return {
        "format": 1,
        "taken": TAKEN,
        "hosts": {name: host_evidence(made, name) for name in made["hosts"]},
        "reach": [
            place(made, "outsider", "observer", [OBSERVER]),
            place(made, "gateway1", "gateway", [_first(gateway, "fabric")]),
            *(
                place(made, name, "peer", [_first(made["hosts"][name], "fabric")])
                for name in made["hosts"]
                if made["hosts"][name]["engines"]
            ),
            place(made, "operator", "controller", ["10.21.0.9"]),
            *([place(made, "monitor1", "monitor", [MONITOR])] if "monitors" in made["sets"] else []),
        ],
        "routes": [routes(made)],
        "missing": [],
    }


def _first(host: Mapping[str, Any], network: str) -> str:
    return str(host["addresses"][network]["ipv4"])


def host_evidence(made: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what audit_host would say of a planned host."""
    host = made["hosts"][name]
    accounts = [engine["user"] for engine in host["engines"]][:1]
    units = {"hardened-vllm-firewall.service": unit("root")}
    for engine in host["engines"]:
        units[engine["unit"]] = unit(engine["user"]) | ({"UMask": "0007"} if engine["socket"] else {})
    if host["gateway"]:
        accounts.append("hardened-vllm-gateway")
        units["hardened-vllm-gateway.service"] = unit("hardened-vllm-gateway")
    return {
        "format": 1,
        "kind": "host",
        "host": name,
        "taken": TAKEN,
        "seconds": 1.0,
        "privileged": True,
        "os": {"id": "debian", "version": "13"},
        "kernel": "6.12.0",
        "booted": TAKEN,
        "addresses": {
            address: f"{network}0"
            for network, pair in host["addresses"].items()
            for address in pair.values()
            if address is not None
        },
        "namespaces": [{"id": 1, "host": True, "processes": 90, "pid": 1, "containers": [], "addresses": []}],
        "listeners": list(_sockets(host)),
        "processes": [process(made, engine) for engine in host["engines"]],
        "nftables": ruleset(made, host),
        "legacy_tables": {"ipv4": [], "ipv6": []},
        "units": units,
        "files": list(_files(host)),
        "sysctl": dict(host["sysctl"]),
        "users": [account(one) for one in accounts],
        "rdma_devices": [],
        "packages": {},
        "proxies": [],
        "unknown": [],
    }


def account(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "uid": 990,
        "gid": 990,
        "home": f"/var/lib/{name}",
        "shell": "/usr/sbin/nologin",
        "groups": [name],
        "password": "locked",
    }


def unit(user: str) -> dict[str, str]:
    """Return the properties in force of a unit of ours."""
    words = "NoNewPrivileges ProtectHome PrivateTmp ProtectKernelTunables ProtectKernelModules ProtectKernelLogs "
    words += (
        "ProtectControlGroups ProtectClock RestrictSUIDSGID RestrictRealtime LockPersonality PrivateUsers PrivateIPC"
    )
    return dict.fromkeys(words.split(), "yes") | {
        "LoadState": "loaded",
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "NeedDaemonReload": "no",
        "DropInPaths": "",
        "Requires": "hardened-vllm-firewall.service sysinit.target",
        "User": user,
        "ProtectSystem": "strict",
        "ProtectProc": "invisible",
        "RestrictNamespaces": "yes",
        "AmbientCapabilities": "",
        "CapabilityBoundingSet": "",
        "SystemCallFilter": "read write",
        "UMask": "0077",
        "DevicePolicy": "closed",
        "IPAddressDeny": "::/0 0.0.0.0/0",
        "LimitCORE": "0",
        "StateDirectoryMode": "0700",
        "CacheDirectoryMode": "0700",
        "RuntimeDirectoryMode": "0700",
        "FragmentText": "",
    }


def process(made: Mapping[str, Any], engine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the process of a planned engine."""
    secret = ["--config", f"/etc/hardened-vllm/{engine['name']}/secrets.yaml"] if engine["secret_arguments"] else []
    return {
        "kind": "vllm",
        "pid": 4711,
        "parent": 1,
        "name": "python",
        "argv": ["/opt/vllm/bin/python", "-m", "vllm.entrypoints.cli.main", *engine["argv"], *secret],
        "environment": {**engine["environment"], "LANG": None},
        "executable": "/opt/vllm/bin/python",
        "directory": "/",
        "uid": 990,
        "user": engine["user"],
        "unit": engine["unit"],
        "container": None,
        "namespace": 1,
        "started": TAKEN,
        "versions": {"vllm": made["release"], "torch": "2.13.0"},
        "no_new_privileges": True,
        "seccomp": 2,
        "capabilities": "0000000000000000",
        "core_limit": "0",
        "maps_rdma": False,
    }


def _owner(name: str, user: str, service: str, kind: str | None = None) -> dict[str, Any]:
    return {"pid": 1, "name": name, "uid": 990, "user": user, "unit": service, "container": None, "kind": kind}


def socket(protocol: str, address: str, port: int, owner: dict[str, Any]) -> dict[str, Any]:
    family = "ipv6" if ":" in address else "ipv4"
    parts = {"protocol": protocol, "family": family, "address": address, "port": port}
    return {"namespace": 1, **parts, "processes": [owner]}


def _sockets(host: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    yield socket("tcp", "0.0.0.0", 22, _owner("sshd", "root", "ssh.service"))
    yield socket("udp", "0.0.0.0", 68, _owner("dhclient", "root", "networking.service"))
    yield socket("tcp", "127.0.0.1", 25, _owner("master", "root", "postfix.service"))
    for engine in host["engines"]:
        vllm = _owner("python", "vllm", engine["unit"], "vllm")
        if engine["api"] and not engine["socket"]:
            yield socket("tcp", engine["api"]["address"], engine["api"]["port"], vllm)
        if any(listener["name"] == "fabric-ephemeral" for listener in host["listeners"]):
            yield socket("tcp", "::", 40123, vllm)
    if host["gateway"]:
        for one in host["gateway"]["listen"]:
            nginx = _owner("nginx", "hardened-vllm-gateway", "hardened-vllm-gateway.service")
            yield socket("tcp", one["address"], one["port"], nginx)


def file(path: str, mode: str, owner: str = "root", group: str = "root", kind: str = "file") -> dict[str, Any]:
    parts = {"path": path, "asked": path, "kind": kind, "mode": mode, "uid": 0 if owner == "root" else 990, "gid": 0}
    times = {"size": 1, "modified": TAKEN, "changed": TAKEN, "target": None, "sha256": None}
    return {**parts, "owner": owner, "group": group, **times}


def _files(host: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for engine in host["engines"]:
        if engine["secret_arguments"]:
            yield file(f"/etc/hardened-vllm/{engine['name']}/secrets.yaml", "0640", group="vllm")
        if engine["tls"]:
            yield file(f"/etc/hardened-vllm/{engine['name']}/tls.pem", "0640", group="vllm")
            yield file(f"/etc/hardened-vllm/{engine['name']}/client.pem", "0600")
        if engine["socket"]:
            owners = (engine["user"], engine["socket"]["group"])
            yield file(engine["socket"]["directory"], "2750", *owners, "directory")
            yield file(engine["api"]["socket"], "0770", *owners, "socket")
        for base in ("/var/cache", "/var/lib", "/run"):
            yield file(f"{base}/{engine['directory']}", "0700", engine["user"], engine["group"], "directory")
        for path in engine["read_paths"]:
            yield file(path, "0755", kind="directory")
    if host["install"] and host["install"].get("root"):
        yield file(host["install"]["root"], "0755", kind="directory")
    if host["gateway"]:
        for name in ("keys.conf", "authorization.conf"):
            yield file(f"/etc/hardened-vllm/gateway/{name}", "0640", group="hardened-vllm-gateway")
        if host["gateway"]["tls"]["issuer"] == "acme":
            yield file(host["gateway"]["tls"]["key"], "0600", "hardened-vllm-gateway")
        else:
            yield file("/etc/hardened-vllm/gateway/tls.key", "0640", group="hardened-vllm-gateway")
        if host["gateway"]["upstream_tls"]:
            yield file("/etc/hardened-vllm/gateway/engines-client.pem", "0640", group="hardened-vllm-gateway")
        yield file("/var/log/hardened-vllm-gateway", "0700", "hardened-vllm-gateway", kind="directory")
        yield file("/var/log/hardened-vllm-gateway/access.log", "0600", "hardened-vllm-gateway")


def ruleset(made: Mapping[str, Any], host: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the table of ours as nft prints it in JSON, as far as the checks read it."""
    table = {"family": "inet", "table": "hardened_vllm"}
    found: list[dict[str, Any]] = [{"metainfo": {}}, {"table": {"family": "inet", "name": "hardened_vllm"}}]

    def chain(name: str, **base: Any) -> None:
        found.append({"chain": {**table, "name": name, **base}})

    def rule(name: str, *expr: dict[str, Any], comment: str | None = None) -> None:
        words = {} if comment is None else {"comment": comment}
        found.append({"rule": {**table, "chain": name, "expr": list(expr), **words}})

    sources = {name for listener in host["listeners"] for name in listener["from"]} | {"fabric"}
    for name in sorted(sources):
        for family in ("ipv4", "ipv6"):
            elements = [_element(text) for text in made["sets"][name][family]]
            found.append({"set": {**table, "name": f"from_{name}_{family}", "elem": elements}})
    chain("forged", hook="prerouting", type="filter", prio=-300, policy="accept")
    for family, version in (("ip", "ipv4"), ("ip6", "ipv6")):
        rule("forged", match("payload", family, "saddr", f"@from_fabric_{version}"), {"drop": None}, comment="NET-07 x")
    chain("input", hook="input", type="filter", prio=-10, policy="drop")
    rule("input", meta("iifname", "lo"), {"accept": None})
    live = {"match": {"op": "==", "left": {"concat": []}, "right": "@operator_ipv4"}}
    rule("input", live, {"accept": None}, comment="NET-04 live connection")
    for protocol in ("tcp", "udp"):
        targets = []
        for number, listener in enumerate(host["listeners"]):
            if listener["protocol"] != protocol:
                continue
            targets.append([_ports(listener["ports"]), {"jump": {"target": f"input_{number}"}}])
            chain(f"input_{number}")
            where = [meta("iifname", listener["interface"])] if listener["interface"] else []
            for version in ("ipv4", "ipv6") if listener["per_source"] else ():
                limit = [{"ct count": {"val": listener["per_source"], "inv": True}}]
                added = {"set": {"op": "add", "elem": {}, "set": f"@held_{listener['name']}_{version}", "stmt": limit}}
                rule(f"input_{number}", *where, added, {"goto": {"target": "too_many"}}, comment=f"NET-14 {version}")
            for name in listener["from"]:
                for family, version in (("ip", "ipv4"), ("ip6", "ipv6")):
                    allowed = match("payload", family, "saddr", f"@from_{name}_{version}")
                    rule(f"input_{number}", *where, allowed, {"accept": None}, comment=_comment(listener))
        key = {"payload": {"protocol": protocol, "field": "dport"}}
        rule("input", {"vmap": {"key": key, "data": {"set": targets}}})
    rule("input", {"goto": {"target": "refused"}})
    chain("published", hook="prerouting", type="filter", prio=-110, policy="accept")
    rule("published", ct("established"), {"accept": None})
    rule("published", meta("iifname", "lo"), {"accept": None})
    elsewhere = {"op": "!=", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "local"}
    rule("published", {"match": elsewhere}, {"accept": None})
    rule("published", live, {"accept": None})
    for protocol, number, listener in ((one["protocol"], number, one) for number, one in enumerate(host["listeners"])):
        key = {"payload": {"protocol": protocol, "field": "dport"}}
        target = [[_ports(listener["ports"]), {"jump": {"target": f"published_{number}"}}]]
        rule("published", {"vmap": {"key": key, "data": {"set": target}}})
        chain(f"published_{number}")
        where = [meta("iifname", listener["interface"])] if listener["interface"] else []
        for name in listener["from"]:
            for family, version in (("ip", "ipv4"), ("ip6", "ipv6")):
                allowed = match("payload", family, "saddr", f"@from_{name}_{version}")
                rule(f"published_{number}", *where, allowed, {"accept": None})
        rule(f"published_{number}", {"goto": {"target": "refused"}})
    if host["egress"] is not None:
        chain("output", hook="output", type="filter", prio=-10, policy="accept")
        rule("output", meta("skuid", 990), {"goto": {"target": "engine_egress"}})
        chain("engine_egress")
        rule("engine_egress", ct("established"), {"accept": None})
        rule("engine_egress", meta("oifname", "lo"), {"accept": None})
        for one in host["egress"]["rules"]:
            rule("engine_egress", {"accept": None}, comment=f"NET-06 {one['name']}")
        rule("engine_egress", {"reject": {}}, comment="NET-06 the engine may not call there")
    if any(listener["per_source"] for listener in host["listeners"]):
        chain("too_many")
        rule("too_many", {"reject": {}}, comment="NET-14 more connections than one source may hold")
    chain("refused")
    rule("refused", {"drop": None}, comment="NET-01 nothing allows it")
    return found


def _comment(listener: Mapping[str, Any]) -> str:
    return f"{listener['control']} {listener['name']}"


def ct(state: str) -> dict[str, Any]:
    return {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": state}}


def meta(key: str, right: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": right}}


def match(kind: str, protocol: str, field: str, right: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {kind: {"protocol": protocol, "field": field}}, "right": right}}


def _element(text: str) -> Any:
    network = ipaddress.ip_network(text)
    if network.num_addresses == 1:
        return str(network.network_address)
    return {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}


def _ports(text: str) -> Any:
    low, dash, high = text.partition("-")
    return {"range": [int(low), int(high)]} if dash else int(low)


def place(made: Mapping[str, Any], name: str, standing: str, sources: list[str]) -> dict[str, Any]:
    """Return what a place finds open when everything is as planned."""
    reached = []
    for target, host in made["hosts"].items():
        for network, pair in host["addresses"].items():
            if pair["ipv4"] is None or target == name:
                continue
            found = sorted(
                int(listener["ports"])
                for listener in host["listeners"]
                if listener["network"] in (network, None)
                and listener["name"].rstrip("-0123456789") in ("api", "https", "monitor", "ssh")
                and _inside(made, listener, sources)
            )
            reached.append(row(target, pair["ipv4"], found))
    parts = {"format": 1, "kind": "reach", "observer": name, "standing": standing, "sources": sources}
    return {**parts, "taken": TAKEN, "seconds": 1.0, "reached": reached, "unknown": []}


def _inside(made: Mapping[str, Any], listener: Mapping[str, Any], sources: list[str]) -> bool:
    networks = [ipaddress.ip_network(text) for name in listener["from"] for text in made["sets"][name]["ipv4"]]
    return any(ipaddress.ip_address(source) in network for source in sources for network in networks)


def row(host: str, address: str, found: list[int], untried: str = "") -> dict[str, Any]:
    edges = [0, *found, 65536]
    filtered = ",".join(f"{low + 1}-{high - 1}" for low, high in pairwise(edges) if low + 1 <= high - 1)
    parts = {"host": host, "address": address, "protocol": "tcp", "open": found, "refused": ""}
    return {**parts, "filtered": "" if untried else filtered, "untried": untried, "reason": "time" if untried else None}


HEADERS = {
    "strict-transport-security": "max-age=63072000",
    "x-content-type-options": "nosniff",
    "server": "nginx",
    "content-type": "application/json",
}


def answer(host: str, address: str, port: int, method: str, path: str, **changes: Any) -> dict[str, Any]:
    parts = {"id": "x", "host": host, "address": address, "port": port, "method": method, "path": path, "target": path}
    seen = {"form": "plain", "key": "none", "status": 401, "headers": dict(HEADERS), "body": "error"}
    return {**parts, **seen, "bytes": 90, "seconds": 0.1, "error": None, **changes}


def routes(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answers of a gateway as planned."""
    gateway = made["hosts"]["gateway1"]["gateway"]
    allowed = {(method, route["path"]) for route in gateway["routes"] for method in route["methods"]}
    door = gateway["listen"][0]
    answers = []
    for route in catalogue.routes(made["release"]):
        if route.method not in ("GET", "POST"):
            continue
        asked = ("gateway1", door["address"], door["port"], route.method, route.path)
        listed = (route.method, route.path) in allowed
        answers += [answer(*asked), answer(*asked, key="wrong")]
        answers.append(answer(*asked, key="tenants/acme/k1", status=200 if listed else 404))
        if not listed:
            answers.append(answer(*asked, form="double slash", target=f"/{route.path}"))
    for number in range(3):
        asked = ("gateway1", door["address"], door["port"], "GET", "/v1/models")
        answers.append(answer(*asked, form="burst of wrong keys", key="wrong", status=429 if number == 2 else 401))
    origin = {"form": "foreign origin", "key": "tenants/acme/k1", "status": 200}
    answers.append(answer("gateway1", door["address"], door["port"], "GET", "/v1/models", **origin))
    for number in range(3):
        burst = {"form": "burst", "key": "tenants/acme/k1", "status": 429 if number == 2 else 200}
        answers.append(answer("gateway1", door["address"], door["port"], "GET", "/v1/models", **burst))
    certificate = {
        "subject": "CN=llm.example.org",
        "issuer": "CN=Example CA",
        "names": ["llm.example.org"],
        "not_before": "2026-01-01T00:00:00Z",
        "not_after": "2027-11-01T00:00:00Z",
        "sha256": "ab" * 32,
        "trusted": True,
        "distrust": None,
        "matches": True,
    }
    endpoint = {
        "host": "gateway1",
        **door,
        "tls": True,
        "protocol": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "certificate": certificate,
        "speaks": {"TLSv1": False, "TLSv1.1": False, "TLSv1.2": True, "TLSv1.3": True, "plain": True},
        "error": None,
    }
    # As the gateway finds them.
    engines = [
        {**endpoint, "host": name, **engine["api"], "speaks": {**endpoint["speaks"], "plain": False}}
        for name, host in made["hosts"].items()
        for engine in host["engines"]
        if engine["tls"] is not None
    ]
    parts = {"format": 1, "kind": "routes", "observer": "outsider", "standing": "observer", "taken": TAKEN}
    return {**parts, "seconds": 1.0, "endpoints": [endpoint, *engines], "answers": answers, "unknown": []}
