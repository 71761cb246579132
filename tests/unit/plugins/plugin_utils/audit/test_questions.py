# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked from where: every port from outside, likely ones among members, no request that changes anything."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import audit_pace
from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit import questions, requests
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.gathering import gathered
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from support import audit

DECLARED = {"engine1": ["10.20.1.11"], "gateway1": ["10.20.1.200", "192.0.2.200"]}
NOW = datetime.datetime(2026, 11, 25, 15, 0, tzinfo=datetime.UTC)


@pytest.fixture
def plans(cluster: dict[str, Any], hosts: dict[str, Any], today: datetime.date) -> dict[str, Any]:
    return {"chat": plan(cluster, hosts, today)}


def evidence(name: str, port: int, kind: str | None = None) -> dict[str, Any]:
    owner = {"pid": 1, "name": name, "uid": 0, "user": "root", "unit": None, "container": None, "kind": kind}
    listener = {
        "namespace": 1,
        "protocol": "tcp",
        "family": "ipv4",
        "address": "0.0.0.0",
        "port": port,
        "processes": [owner],
    }
    space = {"id": 1, "host": True, "addresses": ["10.20.9.9", "fe80::1"]}
    return {"listeners": [listener], "namespaces": [space], "processes": []}


@pytest.mark.parametrize("standing", ["observer", "stranger", "monitor", "controller"])
def test_all_but_members_try_every_port_of_every_address(plans: dict[str, Any], standing: str) -> None:
    found = questions.targets("outside", standing, {"engine1": evidence("x", 9999)}, DECLARED, plans)
    assert [(one["host"], one["address"], one["tcp"]) for one in found] == [
        ("engine1", "10.20.1.11", "1-65535"),
        ("engine1", "10.20.9.9", "1-65535"),
        ("gateway1", "10.20.1.200", "1-65535"),
        ("gateway1", "192.0.2.200", "1-65535"),
    ]


def test_an_address_several_hosts_have_is_tried_of_none_but_whose_it_is_declared() -> None:
    """Every host with docker has 172.17.0.1: who tries it of another finds its own, and called that the other's."""
    hosts = {name: evidence("x", 1) for name in ("a", "b", "c")}
    for name, own in (("a", "10.20.1.1"), ("b", "10.20.1.2"), ("c", "10.20.9.9")):
        hosts[name]["namespaces"][0]["addresses"] = [own, "172.17.0.1"]
    found = questions.targets("o", "observer", hosts, {"c": ["172.17.0.1"]}, {})
    tried = [(one["host"], one["address"]) for one in found]
    assert tried == [("a", "10.20.1.1"), ("b", "10.20.1.2"), ("c", "10.20.9.9"), ("c", "172.17.0.1")]


def test_an_address_of_a_bridge_to_containers_is_tried_where_it_is_declared_only() -> None:
    hosts = {name: evidence("x", 1) for name in ("a", "b")}
    for name, inner in (("a", "172.17.0.1"), ("b", "172.18.0.1")):
        hosts[name]["namespaces"][0]["addresses"] = [f"10.20.1.{ord(name)}", inner]
        hosts[name]["addresses"] = {f"10.20.1.{ord(name)}": "eth0", inner: "docker0" if name == "a" else "br-0a1b2c"}
    found = questions.targets("o", "observer", hosts, {"b": ["172.18.0.1"]}, {})
    assert [one["address"] for one in found] == ["10.20.1.97", "10.20.1.98", "172.18.0.1"]


def test_members_try_what_is_likely_and_not_themselves(plans: dict[str, Any]) -> None:
    found = questions.targets("gateway1", "gateway", {"engine1": evidence("x", 9999)}, DECLARED, plans)
    assert {one["host"] for one in found} == {"engine1"}
    ports = found[0]["tcp"].split(",")
    # What listens, what is planned (the first and last of a range), what Ray has by default.
    assert {"9999", "8000", "40000", "44999", "8265", "22"} <= set(ports)
    assert len(ports) < 100


def test_nothing_that_is_asked_acts(plans: dict[str, Any]) -> None:
    asked = questions.asks("outside", {}, plans, key="tenants/acme/k1")
    acting = {route.path for route in catalogue.routes("0.32.0") if route.danger in requests.ACTING}
    assert acting
    sent = [one for some in asked["requests"].values() for one in some]
    assert acting <= {one["path"] for one in sent}
    assert {one["method"] for one in sent if one["path"] in acting} == {"GET"}


def test_a_gateway_is_asked_for_every_route_and_some_in_disguise(plans: dict[str, Any]) -> None:
    asked = questions.asks("outside", {}, plans)
    (name,) = asked["requests"]
    assert [endpoint["ask"] for endpoint in asked["endpoints"]] == [[name]]
    assert {one["path"] for one in asked["requests"][name]} == {route.path for route in catalogue.routes("0.32.0")}
    assert {one["form"] for one in asked["requests"][name]} == {"plain", *requests.DISGUISES, requests.FOREIGN_ORIGIN}
    assert {one["key"] for one in asked["requests"][name]} == {"none", "wrong"}


def test_open_routes_are_asked_by_methods_they_do_not_have_and_nothing_acts(plans: dict[str, Any]) -> None:
    (some,) = questions.asks("outside", {}, plans, key="tenants/acme/k1")["requests"].values()
    other = [(one["method"], one["path"]) for one in some if one["method"] in requests.OTHER_METHODS]
    assert {("PUT", "/v1/models"), ("PATCH", "/v1/chat/completions"), ("DELETE", "/v1/completions")} <= set(other)
    routes = {(route.method, route.path) for route in catalogue.routes("0.32.0")}
    passed = {route["path"] for route in plans["chat"]["hosts"]["gateway1"]["gateway"]["routes"]}
    assert [one for one in other if one in routes and one[1] in passed] == []


def keyed(some: list[dict[str, Any]], key: str, form: str = "plain") -> set[str]:
    return {one["path"] for one in some if (one["key"], one["form"]) == (key, form)}


def test_every_route_of_a_gateway_is_asked_with_each_kind_of_key(plans: dict[str, Any]) -> None:
    """A door that is open to nobody with a key and to everybody without one passed: three hidden routes were asked keyless."""
    (some,) = questions.asks("outside", {}, plans, key="tenants/acme/k1")["requests"].values()
    every = {route.path for route in catalogue.routes("0.32.0")}
    passed = {route["path"] for route in plans["chat"]["hosts"]["gateway1"]["gateway"]["routes"]}
    assert keyed(some, "none") == keyed(some, "tenants/acme/k1") == every
    assert passed < keyed(some, "wrong")
    for form in requests.LIGHT:
        assert keyed(some, "tenants/acme/k1", form) == every - passed
        assert keyed(some, "none", form)
    assert some[0]["key"] == "tenants/acme/k1"


@pytest.mark.parametrize("key", [None, "tenants/acme/k1"])
def test_requests_without_a_right_key_keep_to_the_limit_of_the_gateway(plans: dict[str, Any], key: str | None) -> None:
    (some,) = questions.asks("outside", {}, plans, key=key)["requests"].values()
    limit = plans["chat"]["hosts"]["gateway1"]["gateway"]["limits"]["failed_keys_per_minute"]
    keyless = [one for one in some if one["key"] in ("none", "wrong")]
    assert {one.get("per_minute") for one in keyless} == {limit}
    assert [one for one in some if one not in keyless and "per_minute" in one] == []
    if key is not None:
        # All of them in the time audit_routes is patient, with the limit that is the default.
        assert len(keyless) <= limit + 0.95 * limit * audit_pace.PATIENCE / 60


def test_limits_are_tried_when_asked_for_and_last(plans: dict[str, Any]) -> None:
    (some,) = questions.asks("outside", {}, plans, key="tenants/acme/k1", limits=True)["requests"].values()
    gateway = plans["chat"]["hosts"]["gateway1"]["gateway"]
    bursts = [one["key"] for one in some if one["form"] == "burst"]
    assert bursts.count("wrong") > gateway["limits"]["failed_keys_per_minute"]
    (acme,) = (one for one in gateway["tenants"] if one["name"] == "acme")
    number = bursts.count("tenants/acme/k1")
    # Sent at RATE a second they are more than what the rate and the burst let through in that time.
    assert acme["burst"] + acme["requests_per_second"] * number / requests.RATE < number <= requests.MOST_OF_A_BURST
    assert {one.get("last") for one in some if one["form"] == "burst"} == {True}
    assert [one for one in some if one["form"] != "burst" and "last" in one] == []


@pytest.mark.parametrize(("limit", "number"), [(60, 60 + requests.BURST), (5000, None)])
def test_a_limit_of_wrong_keys_that_takes_too_many_is_not_tried(limit: int, number: int | None) -> None:
    assert requests.burst_of_failures({"limits": {"failed_keys_per_minute": limit}}) == number


@pytest.mark.parametrize(("rate", "burst"), [(requests.RATE, 20), (10, requests.MOST_OF_A_BURST)])
def test_a_limit_too_high_to_be_tried_is_not(plans: dict[str, Any], rate: int, burst: int) -> None:
    gateway = plans["chat"]["hosts"]["gateway1"]["gateway"]
    for tenant in gateway["tenants"]:
        tenant |= {"requests_per_second": rate, "burst": burst}
    (some,) = questions.asks("outside", {}, plans, key="tenants/acme/k1", limits=True)["requests"].values()
    assert {one["key"] for one in some if one["form"] == "burst"} == {"wrong"}


def test_a_server_nobody_planned_is_asked_for_every_route_in_disguise_and_with_a_wrong_key() -> None:
    """It got no key and the plain form only, so a proxy that blocks /invocations but passes //invocations passed."""
    some = requests.open_requests("0.32.0")
    every = {route.path for route in catalogue.routes("0.32.0")}
    assert keyed(some, "none") == keyed(some, "wrong") == every
    for form in requests.LIGHT:
        assert keyed(some, "none", form) == every
    for form in requests.DISGUISES:
        assert "/invocations" in keyed(some, "none", form)
    assert "//invocations" in {one["target"] for one in some}
    assert {one["method"] for one in some if one["path"] == "/pause"} == {"GET"}
    # Three seconds at the pace of audit_routes.
    assert len(some) < 3 * requests.RATE


@pytest.mark.parametrize(("name", "kind", "port", "wanted"), [
    ("python", "vllm", 8000, "vllm"),
    ("python", "ray-dashboard", 8265, "ray"),
    ("nginx", None, 80, "vllm"),
    ("sshd", None, 2222, None),
])  # fmt: skip
def test_what_is_open_is_asked(name: str, kind: str | None, port: int, wanted: str | None) -> None:
    row = {"host": "other", "address": "10.20.9.9", "protocol": "tcp", "open": [port]}
    reach = [{"observer": "outside", "reached": [row]}, {"observer": "elsewhere", "reached": [{**row, "open": [1]}]}]
    asked = questions.asks("outside", {"other": evidence(name, port, kind)}, {}, reach)
    assert [one["ask"] for one in asked["endpoints"]] == ([[wanted]] if wanted else [])


def test_a_gateway_looks_at_the_tls_of_its_engines_and_asks_nothing() -> None:
    """Nobody else reaches them; that they speak TLS only (GW-11) was not checked in any run."""
    made = {"chat": audit.plan("replicas", engine={"tls": {"client": True}})}
    seen = {"observer": "gateway1", "reached": [{"host": "x", "address": "10.9.9.9", "protocol": "tcp", "open": [80]}]}
    asked = questions.asks("gateway1", {}, made, [seen], "tenants/acme/k1")
    assert asked["requests"] == {}
    engines = made["chat"]["hosts"]["engine11"]["engines"], made["chat"]["hosts"]["engine12"]["engines"]
    assert [(one["address"], one["port"]) for one in asked["endpoints"]] == [
        (engine["api"]["address"], engine["api"]["port"]) for some in engines for engine in some
    ]
    assert {(one["server_name"], *one["ask"]) for one in asked["endpoints"]} == {(engines[0][0]["tls"]["name"],)}
    plain = {"chat": audit.plan()}
    assert questions.asks("gateway1", {}, plain, [seen]) == {"endpoints": [], "requests": {}}


def test_disguises_are_not_the_path_itself() -> None:
    for path in requests.DISGUISED:
        targets = [target for _form, target in requests.disguised(path)]
        assert path not in targets
        assert len(set(targets)) == len(targets)


def test_what_gave_no_answer_is_missing() -> None:
    host = audit.host_evidence(audit.plan(), "gateway1")
    looks = {
        "a": {"evidence": host},
        "b": {"unreachable": True, "msg": "no\nroute"},
        "c": {"skipped": True},
        "d": {},
    }
    found = gathered(looks, {"o": {"failed": True, "msg": ""}}, {}, NOW)
    assert found["hosts"] == {"a": host}
    assert found["taken"] == "2026-11-25T15:00:00Z"
    assert found["missing"] == [
        {"host": "b", "part": "host", "reason": "no"},
        {"host": "o", "part": "reach", "reason": "the host gave no answer"},
    ]


@pytest.mark.parametrize(("version", "taken"), [("0.12.0+cpu", "0.12.0"), ("mine", None), ("", None)])
def test_a_version_that_is_none_does_not_stop_the_questions(version: str, taken: str | None) -> None:
    """A host says what it likes; until this was looked at first, such a word ended the audit of all."""
    host = {**evidence("python", 8000, "vllm"), "processes": [{"versions": {"vllm": version}}]}
    seen = {"observer": "o", "reached": [{"host": "a", "address": "10.20.9.9", "protocol": "tcp", "open": [8000]}]}
    asked = questions.asks("o", {"a": host}, {}, [seen])
    routes = {one.path for one in catalogue.routes(taken or catalogue.newest())}
    assert {one["path"] for one in asked["requests"]["vllm"]} == routes
