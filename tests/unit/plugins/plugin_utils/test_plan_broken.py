# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The properties of plans refuse a planner that is broken: each is shown what it has to catch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils import core
from ansible_collections.hardened.vllm.plugins.plugin_utils.declaration import secrets
from ansible_collections.hardened.vllm.plugins.plugin_utils.planning import (
    access,
    gateway,
    media,
    plan,
    topology,
    transfer,
)
from support import properties
from support.firewall import render
from support.topologies import declaration

from .conftest import TODAY

Broken = Callable[[pytest.MonkeyPatch], None]


def furnished(name: str, numbers: tuple[int, ...] = (11, 12, 13, 14)) -> tuple[Any, Any]:
    return properties.furnished(*declaration(name, numbers))


def changed(module: Any, name: str, change: Callable[[Any], Any]) -> Broken:
    """Let the function ``name`` of ``module`` answer what ``change`` makes of its answer."""

    def broken(patch: pytest.MonkeyPatch) -> None:
        sound = getattr(module, name)
        patch.setattr(module, name, lambda *given: change(sound(*given)))

    return broken


def widened(found: dict[str, Any], kind: str, address: str) -> dict[str, Any]:
    return found | {
        name: {**held, "ipv4": [*held["ipv4"], address]} if name.startswith(kind) else held
        for name, held in found.items()
    }


def opened(found: list[dict[str, Any]], listener: str, to: str) -> list[dict[str, Any]]:
    return [{**item, "sources": [*item["sources"], to]} if item["name"] == listener else item for item in found]


def joined(found: list[Any]) -> list[Any]:
    return [dataclasses.replace(found[0], members=(*found[0].members, *found[1].members)), *found[1:]]


# Topology, the listener that has to be named, what is broken.
STRANGERS: list[tuple[str, str, Broken]] = [
    (
        "tensor parallel twice",
        "engine11 fabric-ephemeral",
        changed(access, "source_sets", lambda found: widened(found, "peers-engine11", "10.20.0.14")),
    ),
    ("tensor parallel twice", "engine12 fabric-ephemeral", changed(plan, "groups", joined)),
    (
        "replicas",
        "engine11 api",
        changed(access, "source_sets", lambda found: widened(found, "gateways", "10.20.0.0/16")),
    ),
    ("replicas", "engine14 api", changed(access, "_seat_ports", lambda found: opened(found, "api", "fabric"))),
    (
        "replicas",
        "gateway2 media",
        changed(access, "source_sets", lambda found: widened(found, "engines", "10.20.9.9")),
    ),
    (
        "data parallel, internal",
        "engine11 data-parallel-handshake",
        changed(access, "_seat_ports", lambda found: opened(found, "data-parallel-handshake", "gateways")),
    ),
    (
        "disaggregated, nixl",
        "engine12 nixl-side-channel",
        changed(access, "_seat_ports", lambda found: opened(found, "nixl-side-channel", "decode")),
    ),
    (
        "events",
        "engine13 kv-events",
        changed(access, "transfer_ports", lambda found: opened(found, "kv-events", "everyone")),
    ),
    (
        "tensor parallel, ray",
        "engine11 ray-control",
        changed(access, "ray_ports", lambda found: opened(found, "ray-control", "operators")),
    ),
    (
        "cache",
        "engine11 api on edge",
        changed(access, "_internal", lambda found: {**found, "network": "edge"}),
    ),
]


@pytest.mark.parametrize(("name", "listener", "broken"), STRANGERS, ids=[row[1] for row in STRANGERS])
def test_a_socket_open_to_strangers_is_found(
    name: str, listener: str, broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = furnished(name)
    assert properties.open_to_strangers(*declared, core.plan(*declared, TODAY)) == []
    broken(monkeypatch)
    found = properties.open_to_strangers(*declared, core.plan(*declared, TODAY))
    assert any(text.startswith(listener) for text in found), found


RENDERED: dict[str, Callable[[str], str]] = {
    "no rule": lambda text: drop(text, "counter accept", "rendezvous"),
    "half a rule": lambda text: drop(text, "ip6 saddr", "rendezvous"),
    "another port": lambda text: text.replace("29501 : jump", "29502 : jump"),
    "another source": lambda text: text.replace("@from_peers-engine11_ipv4", "@from_everyone_ipv4"),
    "any interface": lambda text: text.replace('iifname "eth1" ', ""),
    "a rule of nobody": lambda text: text.replace("rendezvous", "no-such-listener"),
    "a rule twice": lambda text: twice(text, "counter accept", "rendezvous"),
    "nothing refused": lambda text: drop(text, "goto refused", "rendezvous"),
    "refused twice": lambda text: twice(text, "goto refused", "rendezvous"),
}


def drop(text: str, *words: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not all(word in line for word in words))


def twice(text: str, *words: str) -> str:
    return "".join(line * (1 + all(word in line for word in words)) for line in text.splitlines(keepends=True))


@pytest.mark.parametrize("change", RENDERED.values(), ids=RENDERED)
def test_a_listener_without_its_one_rule_is_found(change: Callable[[str], str]) -> None:
    made = core.plan(*furnished("tensor parallel twice"), TODAY)
    assert properties.without_one_rule_and_row(made) == []
    assert properties.without_one_rule_and_row(made, lambda given: change(render(given))) != []


@pytest.mark.parametrize(
    "broken",
    [
        changed(plan, "_matrix", lambda rows: rows[1:]),
        changed(plan, "_matrix", lambda rows: [*rows, rows[0]]),
        changed(plan, "_matrix", lambda rows: [*rows, {**rows[0], "listener": "no-such-listener"}]),
        changed(access, "admin_listeners", lambda found: found * 2),
    ],
    ids=["no row", "two rows", "a row of nobody", "a listener twice"],
)
def test_a_listener_without_its_one_row_is_found(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    monkeypatch.setattr(core, "collisions", lambda made: [])
    made = core.plan(*furnished("tensor parallel twice"), TODAY)
    assert properties.without_one_rule_and_row(made) != []


COLLISIONS = {
    "engines without a stride": (
        "several engines on a node",
        changed(access, "_internal", lambda found: {**found, "ports": "8000"} if "api" in found["name"] else found),
    ),
    "ranks without a range": (
        "disaggregated, several engines on a node",
        changed(transfer, "_first_port", lambda _port: 5600),
    ),
    "inside the ephemeral range": (
        "tensor parallel",
        changed(access, "fixed_ports", lambda found: {name: (40001, bind) for name, (_port, bind) in found.items()}),
    ),
}


@pytest.mark.parametrize(("name", "broken"), COLLISIONS.values(), ids=COLLISIONS)
def test_a_collision_is_found_by_the_property_and_by_validation(
    name: str, broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = furnished(name)
    broken(monkeypatch)
    with pytest.raises(core.InvalidDeclarationError, match="listener-collision"):
        core.plan(*declared, TODAY)
    monkeypatch.setattr(core, "collisions", lambda made: [])
    assert properties.sharing_a_port(core.plan(*declared, TODAY)) != []


def test_a_plan_by_the_order_of_hosts_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, hosts = furnished("data parallel, internal")
    backwards = dict(reversed(hosts.items()))

    def unsorted(cluster: Any, hosts: Any, today: Any) -> Any:
        declaration, problems = sound(cluster, hosts, today)
        by_name = {host.name: host for host in declaration.hosts}
        return dataclasses.replace(declaration, hosts=tuple(by_name[name] for name in hosts)), problems

    sound = core.read
    monkeypatch.setattr(core, "read", unsorted)
    found = properties.differences(core.plan(cluster, hosts, TODAY), core.plan(cluster, backwards, TODAY))
    assert "plan.members.engine11[0]" in found or "plan.members" in found


def numbered(patch: pytest.MonkeyPatch) -> None:
    sound = topology.groups

    def groups(declaration: Any) -> list[Any]:
        return [dataclasses.replace(group, name=str(number)) for number, group in enumerate(sound(declaration))]

    patch.setattr(topology, "groups", groups)
    patch.setattr(plan, "groups", groups)


def in_turn(patch: pytest.MonkeyPatch) -> None:
    def proxy(declaration: Any, host: Any) -> tuple[str, int]:
        gateways = declaration.with_role("gateway")
        place = [other.name for other in declaration.with_role("engine")].index(host.name)
        return str(gateways[place % len(gateways)].legs["fabric"].primary), 3128

    patch.setattr(media, "proxy_of", proxy)


def counted(patch: pytest.MonkeyPatch) -> None:
    sound = plan._sysctl
    patch.setattr(plan, "_sysctl", lambda given, found: {**sound(given, found), "hosts": len(given.hosts)})


CHANGES: dict[str, tuple[str, Broken]] = {
    "numbered engines": ("tensor parallel twice", numbered),
    "proxies in turn": ("replicas", in_turn),
    "the number of hosts": ("cache", counted),
}


@pytest.mark.parametrize(("name", "broken"), CHANGES.values(), ids=CHANGES)
def test_a_change_without_cause_is_found(name: str, broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    few, more = furnished(name, (11, 12, 13, 14)), furnished(name, (1, 11, 12, 13, 14))
    if name == "tensor parallel twice":
        more = furnished(name, (1, 2, 11, 12, 13, 14))
    found = properties.changed_without_cause((*few, core.plan(*few, TODAY)), (*more, core.plan(*more, TODAY)))
    assert any(text.startswith("engine") for text in found)


def test_a_secret_in_a_plan_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "k7Qm2xWv9Rt4Zb8Hn3Jd6Ls5Pf1Gc0Ya"
    cluster, hosts = furnished("replicas")
    cluster["tenants"][0]["keys"][0]["value"] = secret
    assert properties.leaks(secret, json.dumps(core.plan(cluster, hosts, TODAY))) == []
    sound = gateway._tenant
    with monkeypatch.context() as patch:
        patch.setattr(gateway, "_tenant", lambda tenant: {**sound(tenant), "given": tenant["keys"][0]["value"]})
        assert properties.leaks(secret, json.dumps(core.plan(cluster, hosts, TODAY))) != []
    del cluster["tenants"][0]["keys"][0]["value"]
    cluster["engine"] = {"environment": {"STORE_PASSWORD": secret}}
    with pytest.raises(core.InvalidDeclarationError, match="secret-written"):
        core.plan(cluster, hosts, TODAY)
    monkeypatch.setattr(secrets, "check_secrets", lambda values, report: None)
    assert properties.leaks(secret, json.dumps(core.plan(cluster, hosts, TODAY))) != []
