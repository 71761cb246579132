# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster as planned passes; with one thing spoilt, the audit finds that and nothing else."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import judged as ask
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.controls import controls
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.judge import judge
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.shape import InvalidQuestionError
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.waivers import InvalidWaiverError, read
from support import audit
from support.topologies import CLUSTER

PLAN = audit.plan(engine={"ranks_per_node": 2, "tls": {"client": True}})
GOOD = audit.evidence(PLAN)
# 0.32.0 itself has a known hole.
HOLE = {
    "rule": "release-old",
    "reason": "the fix is not in the catalogue yet",
    "owner": "tests",
    "expires": "2026-12-31",
}
KEY = {hashlib.sha256(audit.KEY.encode()).hexdigest(): "upstream"}

Spoil = Callable[[dict[str, Any]], None]


def judged(evidence: dict[str, Any], **options: Any) -> dict[str, Any]:
    values = {"plans": {"chat": PLAN}, "waivers": read([HOLE]), "secrets": KEY, "today": audit.TODAY, **options}
    return judge(evidence, **values)  # type: ignore[arg-type]


def found(result: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["control"], one["host"]) for one in result["findings"] if not one["waived"]}


def outcomes(result: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(one["control"], one["host"]): one["outcome"] for one in result["outcomes"]}


def host(evidence: dict[str, Any], name: str = "engine11") -> Any:
    return evidence["hosts"][name]


def process(evidence: dict[str, Any], name: str = "engine11") -> Any:
    return host(evidence, name)["processes"][0]


def unit(evidence: dict[str, Any], name: str = "engine11", which: str = "engine") -> Any:
    return host(evidence, name)["units"][f"hardened-vllm-{which}.service"]


def file(evidence: dict[str, Any], path: str, name: str = "engine11") -> Any:
    return next(one for one in host(evidence, name)["files"] if one["path"] == path)


def rule(evidence: dict[str, Any], comment: str, name: str = "engine11") -> Any:
    return next(one for one in host(evidence, name)["nftables"] if one.get("rule", {}).get("comment") == comment)


def chain(evidence: dict[str, Any], title: str, name: str = "engine11") -> Any:
    return next(one["chain"] for one in host(evidence, name)["nftables"] if one.get("chain", {}).get("name") == title)


def opened(evidence: dict[str, Any], place: str, target: str, network: str, port: int) -> None:
    """Make ``place`` find ``port`` of ``target`` open."""
    address = PLAN["hosts"][target]["addresses"][network]["ipv4"]
    seen = next(one for one in evidence["reach"] if one["observer"] == place)
    row = next(one for one in seen["reached"] if (one["host"], one["address"]) == (target, address))
    row["open"] = sorted([*row["open"], port])


def answer(evidence: dict[str, Any], method: str, path: str, key: str, form: str = "plain") -> Any:
    wanted = (method, path, key, form)
    answers = evidence["routes"][0]["answers"]
    return next(one for one in answers if (one["method"], one["path"], one["key"], one["form"]) == wanted)


def foreign_rule(chain_name: str, *expr: dict[str, Any]) -> dict[str, Any]:
    return {"rule": {"family": "ip", "table": "nat", "chain": chain_name, "expr": list(expr)}}


def base_chain(**changes: Any) -> dict[str, Any]:
    return {"chain": {"family": "ip", "table": "nat", "name": "x", "type": "nat", "hook": "prerouting", **changes}}


def both(control: str) -> set[tuple[str, str]]:
    return {(control, "engine11"), (control, "engine12")}


def door(evidence: dict[str, Any]) -> Any:
    return evidence["routes"][0]["endpoints"][0]


def direct(evidence: dict[str, Any], **changes: Any) -> None:
    """Add an answer of vLLM itself."""
    address = PLAN["hosts"]["engine11"]["addresses"]["fabric"]["ipv4"]
    one = audit.answer("engine11", address, 8000, "GET", "/version", **changes)
    evidence["routes"][0]["answers"].append(one)


def unlimited(evidence: dict[str, Any], key: str) -> None:
    """Make no request of a burst with ``key`` too many."""
    for one in evidence["routes"][0]["answers"]:
        if (one["form"], one["key"]) == ("burst", key):
            one["status"] = 200


def without(argv: list[str], option: str, words: int) -> None:
    """Take an option and its value out of a command line."""
    place = argv.index(option)
    del argv[place : place + words]


FAULTS: dict[str, tuple[Spoil, set[tuple[str, str]]]] = {
    "an open port nobody planned": (lambda e: opened(e, "outsider", "engine11", "management", 9100), {("NET-01", "engine11")}),
    "the API is open to an outsider": (lambda e: opened(e, "outsider", "engine11", "fabric", 8000), {("NET-02", "engine11")}),
    "the store is open to an outsider": (lambda e: opened(e, "outsider", "engine11", "fabric", 40123), {("NET-03", "engine11")}),
    "the handshake is open to the gateway": (lambda e: opened(e, "gateway1", "engine11", "fabric", 29550), {("NET-03", "engine11")}),
    "SSH is open to an outsider": (lambda e: opened(e, "outsider", "engine12", "management", 22), {("NET-04", "engine12")}),
    "the API does not answer the gateway": (
        lambda e: e["reach"][1]["reached"][0]["open"].clear(),
        {("NET-02", "engine11")},
    ),
    "the wall around the engine is gone": (
        lambda e: host(e)["nftables"].remove(rule(e, "NET-06 the engine may not call there")),
        {("NET-06", "engine11")},
    ),
    "the engine may call somebody more": (
        lambda e: rule(e, f"NET-06 {PLAN['hosts']['engine11']['egress']['rules'][0]['name']}")["rule"].update(comment="NET-06 metadata"),
        {("NET-06", "engine11")},
    ),
    "forged sources pass": (
        lambda e: rule(e, "NET-07 x")["rule"].update(expr=[{"accept": None}]),
        {("NET-07", "engine11")},
    ),
    "the table is gone": (
        lambda e: host(e).update(nftables=[]),
        {("NET-06", "engine11"), ("NET-07", "engine11"), ("NET-09", "engine11")},
    ),
    "the door counts nothing": (
        lambda e: host(e, "gateway1")["nftables"].remove(rule(e, "NET-14 ipv6", "gateway1")),
        {("NET-14", "gateway1")},
    ),
    "the door counts to another number": (
        lambda e: rule(e, "NET-14 ipv4", "gateway1")["rule"]["expr"][-2]["set"]["stmt"][0]["ct count"].update(val=99999),
        {("NET-14", "gateway1")},
    ),
    "the door counts after it has let in": (
        lambda e: host(e, "gateway1")["nftables"].sort(key=lambda one: "NET-14" in one.get("rule", {}).get("comment", "")),
        {("NET-14", "gateway1")},
    ),
    "who holds too many is let in": (
        lambda e: rule(e, "NET-14 more connections than one source may hold", "gateway1")["rule"].update(expr=[{"accept": None}]),
        {("NET-09", "gateway1"), ("NET-14", "gateway1")},
    ),
    "the policy is accept": (lambda e: chain(e, "input").update(policy="accept"), {("NET-09", "engine11")}),
    "a rule lets everybody in": (
        lambda e: host(e)["nftables"].append(
            {
                "rule": {
                    "family": "inet",
                    "table": "hardened_vllm",
                    "chain": "input_0",
                    "expr": [{"accept": None}],
                }
            }
        ),
        {("NET-09", "engine11")},
    ),
    "a port leads to nobody's judgement": (
        lambda e: host(e)["nftables"].append(
            {
                "rule": {
                    "family": "inet",
                    "table": "hardened_vllm",
                    "chain": "input",
                    "expr": [
                        {
                            "vmap": {
                                "key": {"payload": {"protocol": "tcp", "field": "dport"}},
                                "data": {"set": [[9100, {"accept": None}]]},
                            }
                        }
                    ],
                }
            }
        ),
        {("NET-09", "engine11")},
    ),
    "a rule in the first chain leads elsewhere": (
        lambda e: host(e)["nftables"].append(
            {
                "rule": {
                    "family": "inet",
                    "table": "hardened_vllm",
                    "chain": "input",
                    "expr": [{"jump": {"target": "elsewhere"}}],
                }
            }
        ),
        {("NET-09", "engine11")},
    ),
    "a rule in the first chain lets everybody in": (
        lambda e: host(e)["nftables"].append(
            {"rule": {"family": "inet", "table": "hardened_vllm", "chain": "input", "expr": [{"accept": None}]}}
        ),
        {("NET-09", "engine11")},
    ),
    "a planned rule is missing": (
        lambda e: host(e)["nftables"].remove(rule(e, "NET-02 api")),
        {("NET-09", "engine11")},
    ),
    "an address slipped into a set": (
        lambda e: next(
            one["set"] for one in host(e)["nftables"] if one.get("set", {}).get("name") == "from_gateways_ipv4"
        )["elem"].append("203.0.113.9"),
        {("NET-09", "engine11")},
    ),
    "a redirection before ours": (
        lambda e: host(e)["nftables"].append(base_chain(prio=-150)),
        {("NET-10", "engine11")},
    ),
    "a published container": (
        lambda e: host(e)["nftables"].append(
            foreign_rule("DOCKER", audit.match("payload", "tcp", "dport", 8080), {"dnat": {"addr": "172.17.0.2"}})
        ),
        {("NET-10", "engine11")},
    ),
    "rules nft does not show": (lambda e: host(e)["legacy_tables"].update(ipv4=["nat"]), {("NET-10", "engine11")}),
    "the ephemeral range was reverted": (
        lambda e: host(e)["sysctl"].update({"net.ipv4.ip_local_port_range": "32768 60999"}),
        {("NET-11", "engine11")},
    ),
    "a socket nobody planned": (
        lambda e: host(e)["listeners"].append(audit.socket("tcp", "0.0.0.0", 9100, audit._owner("exporter", "root", "e"))),
        {("NET-12", "engine11")},
    ),
    "the API on every interface": (lambda e: host(e)["listeners"][3].update(address="0.0.0.0"), {("NET-12", "engine11")}),
    "RDMA devices": (lambda e: host(e).update(rdma_devices=[{"name": "mlx5_0"}]), {("NET-13", "engine11")}),
    "a declared address is gone": (
        lambda e: host(e)["addresses"].pop(PLAN["hosts"]["engine11"]["addresses"]["management"]["ipv4"]),
        {("NET-15", "engine11")},
    ),
    "any page reads answers": (
        lambda e: answer(e, "GET", "/v1/models", "tenants/acme/k1", "foreign origin")["headers"].update(
            {"access-control-allow-origin": "*"}
        ),
        {("OUT-07", "gateway1")},
    ),
    "a tenant is not held to its rate": (lambda e: unlimited(e, "tenants/acme/k1"), {("GW-08", "gateway1")}),
    "a denied route answers with a key": (
        lambda e: answer(e, "POST", "/tokenize", "tenants/acme/k1").update(status=200),
        {("GW-03", "gateway1")},
    ),
    "a denied route answers without a key": (
        lambda e: answer(e, "POST", "/invocations", "none").update(status=400),
        {("GW-03", "gateway1")},
    ),
    "a denied route is forbidden by the engine": (
        lambda e: answer(e, "POST", "/inference/v1/generate", "tenants/acme/k1").update(status=403),
        {("GW-03", "gateway1")},
    ),
    "a route nobody lists reaches the engine, which does not have it": (
        lambda e: answer(e, "POST", "/tokenize", "tenants/acme/k1").update(status=404, body="detail"),
        {("GW-03", "gateway1")},
    ),
    "a method nobody lists reaches the engine": (
        lambda e: e["routes"][0]["answers"].append(
            {**answer(e, "GET", "/v1/models", "tenants/acme/k1"), "method": "DELETE", "status": 405, "body": "detail"}
        ),
        {("GW-03", "gateway1")},
    ),
    "a disguise reaches the engine, which does not have it": (
        lambda e: answer(e, "GET", "/metrics", "none", "double slash").update(status=404, body="detail"),
        {("GW-04", "gateway1")},
    ),
    "a disguise is answered": (
        lambda e: answer(e, "GET", "/metrics", "none", "double slash").update(status=200),
        {("GW-04", "gateway1")},
    ),
    "a listed route needs no key": (
        lambda e: answer(e, "GET", "/v1/models", "none").update(status=200),
        {("GW-05", "gateway1")},
    ),
    "a wrong key is good": (lambda e: answer(e, "GET", "/v1/models", "wrong").update(status=200), {("GW-05", "gateway1")}),
    "the right key is refused": (
        lambda e: answer(e, "GET", "/v1/models", "tenants/acme/k1").update(status=401),
        {("GW-05", "gateway1")},
    ),
    "an old protocol": (lambda e: door(e)["speaks"].update({"TLSv1.1": True}), {("GW-06", "gateway1")}),
    "an expired certificate": (
        lambda e: door(e)["certificate"].update(not_after="2026-11-24T00:00:00Z"),
        {("GW-06", "gateway1")},
    ),
    "a certificate that ends soon": (
        lambda e: door(e)["certificate"].update(not_after="2026-12-01T00:00:00Z"),
        {("GW-06", "gateway1")},
    ),
    "another server's certificate": (lambda e: door(e)["certificate"].update(matches=False), {("GW-06", "gateway1")}),
    "an authority nobody knows": (
        lambda e: door(e)["certificate"].update(trusted=False, distrust="self-signed"),
        {("GW-06", "gateway1")},
    ),
    "an engine that answers without TLS": (
        lambda e: e["routes"][0]["endpoints"][1].update(tls=False, certificate=None, speaks={"plain": True}),
        {("GW-11", "engine11")},
    ),
    "no TLS": (
        lambda e: door(e).update(tls=False, certificate=None, speaks={"plain": True}),
        {("GW-01", "gateway1"), ("GW-06", "gateway1")},
    ),
    "no HSTS": (
        lambda e: answer(e, "GET", "/v1/models", "none")["headers"].pop("strict-transport-security"),
        {("GW-07", "gateway1")},
    ),
    "the server tells its version": (
        lambda e: answer(e, "GET", "/v1/models", "none")["headers"].update(server="nginx/1.26.3"),
        {("GW-07", "gateway1")},
    ),
    "no limit bites": (
        lambda e: [one.update(status=401) for one in e["routes"][0]["answers"] if one["status"] == 429],
        {("GW-08", "gateway1")},
    ),
    "the gateway without its sandbox": (
        lambda e: unit(e, "gateway1", "gateway").update(ProtectSystem="no"),
        {("GW-09", "gateway1")},
    ),
    "no access log": (
        lambda e: host(e, "gateway1")["files"].remove(file(e, "/var/log/hardened-vllm-gateway/access.log", "gateway1")),
        {("GW-10", "gateway1")},
    ),
    "an access log for everybody": (
        lambda e: file(e, "/var/log/hardened-vllm-gateway", "gateway1").update(mode="0755"),
        {("GW-10", "gateway1")},
    ),
    "development mode": (
        lambda e: process(e)["environment"].update(VLLM_SERVER_DEV_MODE="1"),
        {("ENG-01", "engine11")},
    ),
    "the engine's sandbox is off": (lambda e: unit(e).update(NoNewPrivileges="no"), {("ENG-17", "engine11")}),
    "the unit exchanges packets with everybody": (lambda e: unit(e).update(IPAddressDeny=""), {("ENG-17", "engine11")}),
    "media of every host": (
        lambda e: without(process(e)["argv"], "--allowed-media-domains", 2),
        {("ENG-04", "engine11"), ("ENG-18", "engine11")},
    ),
    "the queue has no end": (
        lambda e: without(process(e)["argv"], "--max-num-queued-reqs", 2),
        {("ENG-11", "engine11"), ("ENG-18", "engine11")},
    ),
    "no filter of system calls": (lambda e: unit(e).update(SystemCallFilter=""), {("ENG-17", "engine11")}),
    "the engine runs as root": (lambda e: process(e).update(uid=0, user="root"), {("ENG-17", "engine11")}),
    "the engine has capabilities": (
        lambda e: process(e).update(capabilities="000001ffffffffff"),
        {("ENG-17", "engine11")},
    ),
    "a variable is not as planned": (
        lambda e: process(e)["environment"].pop("HF_HUB_DISABLE_TELEMETRY"),
        {("ENG-18", "engine11")},
    ),
    "no engine runs": (
        lambda e: host(e).update(processes=[]),
        {("ENG-18", "engine11")},
    ),
    "another release runs": (lambda e: process(e).update(versions={"vllm": "0.31.0"}), {("VER-02", "engine11")}),
    "a key in a unit": (
        lambda e: unit(e).update(FragmentText=f"Environment=X=sha256:{next(iter(KEY))}"),
        {("ENG-05", "engine11")},
    ),
    "the key file is open": (
        lambda e: file(e, "/etc/hardened-vllm/engine/secrets.yaml").update(mode="0644"),
        {("HOST-01", "engine11")},
    ),
    "the TLS key is open": (
        lambda e: file(e, "/etc/hardened-vllm/gateway/tls.key", "gateway1").update(mode="0644"),
        {("HOST-01", "gateway1")},
    ),
    "the cache is somebody else's": (lambda e: file(e, "/var/cache/vllm").update(owner="mallory"), {("ENG-15", "engine11")}),
    "the cache is open": (lambda e: file(e, "/var/cache/vllm").update(mode="0777"), {("ENG-15", "engine11")}),
    "a stranger's file in the cache": (
        lambda e: host(e)["files"].append(audit.file("/var/cache/vllm/x.pkl", "0644", "mallory")),
        {("ENG-15", "engine11")},
    ),
    "the model can be written": (
        lambda e: host(e)["files"].append(audit.file("/srv/models/example/config.json", "0666")),
        {("HOST-02", "engine11")},
    ),
    "the account can log in": (lambda e: host(e)["users"][0].update({"shell": "/bin/bash"}), {("HOST-03", "engine11")}),
    "the account may use docker": (lambda e: host(e)["users"][0].update(groups=["docker"]), {("HOST-03", "engine11")}),
    "a drop-in": (
        lambda e: unit(e).update(DropInPaths="/etc/systemd/system/hardened-vllm-engine.service.d/x.conf"),
        {("HOST-04", "engine11")},
    ),
    "it does not start at boot": (lambda e: unit(e, "gateway1", "firewall").update(UnitFileState="disabled"), {("HOST-04", "gateway1")}),
    "an engine without its firewall": (lambda e: unit(e).update(Requires="sysinit.target"), {("HOST-04", "engine11")}),
    "vLLM itself answers an outsider": (
        lambda e: direct(e, status=404, headers={"server": "uvicorn"}),
        {("OUT-01", "engine11")},
    ),
    "a route of vLLM answers an outsider without a key": (lambda e: direct(e, status=200), {("OUT-02", "engine11")}),
    "a vLLM nobody planned": (
        lambda e: host(e, "gateway1")["processes"].append({**process(e), "unit": None, "argv": ["ray::x"], "kind": "vllm-worker"}),
        {("OUT-04", "gateway1")},
    ),
}  # fmt: skip


def test_a_cluster_as_planned_passes() -> None:
    result = judged(GOOD)
    assert [one["message"] for one in result["findings"] if not one["waived"]] == []
    states = outcomes(result)
    assert {key for key, outcome in states.items() if outcome == "waived"} == both("VER-01")
    assert {key for key, outcome in states.items() if outcome == "not checked"} == set()
    assert result["verdict"]["sentence"] == "Passed: 0 errors and 0 warnings on 3 hosts; every control was checked."
    passed = {control for (control, _host), outcome in states.items() if outcome == "passed"}
    # No such thing is in this cluster: monitors, engines on sockets, Ray, a proxy for media, services of the operator's, foreign hosts.
    assert set(controls()) - passed == {
        "GW-02",
        "GW-12",
        "ENG-14",
        "NET-05",
        "NET-08",
        "OUT-03",
        "OUT-05",
        "OUT-06",
        "VER-01",
    }


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_nothing_else(name: str) -> None:
    spoil, expected = FAULTS[name]
    evidence = copy.deepcopy(GOOD)
    spoil(evidence)
    result = judged(evidence)
    assert found(result) == expected, [one["message"] for one in result["findings"]]
    assert {key for key, outcome in outcomes(result).items() if outcome == "failed"} == expected
    assert result["verdict"]["word"] == "failed"
    for one in result["findings"]:
        assert one["remedy"].endswith(".") and one["found"] and one["expected"]


def test_every_control_has_a_fault_that_is_found() -> None:
    """Those without have tests of their own: the linter's (test_settings.py) and what this cluster does not have."""
    spoilt = {control for _spoil, expected in FAULTS.values() for control, _host in expected}
    linted = {name for name, control in controls().items() if control.rules}
    monitored = {"GW-02"}
    assert set(controls()) - spoilt - linted - monitored == {"GW-12", "NET-05", "NET-08", "OUT-05", "OUT-06"}


@pytest.mark.parametrize(
    "fact", ["listeners", "processes", "nftables", "units", "files", "sysctl", "users", "rdma_devices"]
)
def test_what_could_not_be_looked_at_is_not_passed(fact: str) -> None:
    evidence = copy.deepcopy(GOOD)
    host(evidence)[fact] = None
    host(evidence)["unknown"] = [{"fact": fact, "reason": "permission denied"}]
    before, after = outcomes(judged(GOOD)), outcomes(judged(evidence))
    changed = {key for key in before if before[key] != after[key]}
    assert changed and {name for _control, name in changed} == {"engine11"}
    assert {after[key] for key in changed} == {"not checked"}
    told = [one["why"] for one in judged(evidence)["outcomes"] if one["outcome"] == "not checked"]
    assert any("permission denied" in " ".join(why) for why in told)


def test_a_host_nobody_reached_passes_nothing() -> None:
    evidence = copy.deepcopy(GOOD)
    del evidence["hosts"]["engine12"]
    evidence["reach"], evidence["routes"] = [], []
    evidence["missing"] = [{"host": "engine12", "part": "host", "reason": "unreachable"}]
    result = judged(evidence)
    states = {outcome for (_control, name), outcome in outcomes(result).items() if name == "engine12"}
    assert states == {"not checked", "not applicable"}
    assert result["verdict"]["word"] == "not checked"
    assert {outcome for (control, _name), outcome in outcomes(result).items() if control == "NET-01"} == {"not checked"}


def test_ports_that_were_not_tried_are_not_closed() -> None:
    evidence = copy.deepcopy(GOOD)
    row = next(one for one in evidence["reach"][0]["reached"] if one["host"] == "engine11")
    row.update(untried="30000-65535", filtered="1-29999", reason="the time was up")
    states = outcomes(judged(evidence))
    assert states["NET-01", "engine11"] == states["NET-03", "engine11"] == "not checked"
    assert states["NET-02", "engine11"] == "passed"


@pytest.mark.parametrize("place", [0, -1])
def test_ports_that_were_not_asked_for_are_neither_closed_nor_silent(place: int) -> None:
    """With a short audit_ports a whole host passed as closed, and a door nobody knocked at as shut."""
    evidence = copy.deepcopy(GOOD)
    for row in evidence["reach"][place]["reached"]:
        row.update(open=[], filtered="1-21")
    result = judged(evidence)
    assert found(result) == set()
    states = outcomes(result)
    assert states["NET-01", "engine11"] == states["NET-03", "engine11"] == "not checked"
    who = evidence["reach"][place]["observer"]
    cells = [row["cells"].get(who, {}).get("is") for row in result["matrix"] if row["protocol"] == "tcp"]
    assert set(cells) <= {"not tried", "not looked at"}


def test_members_look_at_likely_ports_and_say_so() -> None:
    evidence = copy.deepcopy(GOOD)
    evidence["reach"] = [one for one in evidence["reach"] if one["standing"] == "peer"]
    (told,) = [one for one in judged(evidence)["outcomes"] if (one["control"], one["host"]) == ("NET-01", "gateway1")]
    assert told["looked_at"][0].startswith("tcp likely ones of 1-65535 of ")


MONITORED = audit.plan(
    gateway={**CLUSTER["gateway"], "monitor_port": 9443}, admin={"ssh_from": ["10.21.0.0/24"]}, monitors=True
)


@pytest.mark.parametrize(("network", "host_name", "port", "control"), [
    ("management", "engine11", 9100, "NET-01"),
    ("management", "engine11", 22, "NET-04"),
    ("fabric", "engine11", 8000, "NET-02"),
    ("fabric", "engine12", 40123, "NET-03"),
])  # fmt: skip
def test_a_monitor_finds_its_door_and_nothing_else(network: str, host_name: str, port: int, control: str) -> None:
    evidence = audit.evidence(MONITORED)
    plans = {"plans": {"chat": MONITORED}}
    good = judged(evidence, **plans)
    assert found(good) == set()
    assert outcomes(good)["GW-02", "gateway1"] == "passed"
    opened(evidence, "monitor1", host_name, network, port)
    assert found(judged(evidence, **plans)) == {(control, host_name)}


def test_a_monitor_that_is_shut_out_says_so() -> None:
    evidence = audit.evidence(MONITORED)
    seen = next(one for one in evidence["reach"] if one["standing"] == "monitor")
    (row,) = [one for one in seen["reached"] if 9443 in one["open"]]
    row.update(open=[], filtered=audit.EVERY)
    result = judged(evidence, plans={"chat": MONITORED})
    assert found(result) == {("GW-02", "gateway1")}
    evidence["reach"].remove(seen)
    assert outcomes(judged(evidence, plans={"chat": MONITORED}))["GW-02", "gateway1"] == "not checked"


def test_the_monitors_door_is_open_to_monitors_only() -> None:
    evidence = audit.evidence(MONITORED)
    opened(evidence, "outsider", "gateway1", "management", 9443)
    assert found(judged(evidence, plans={"chat": MONITORED})) == {("GW-02", "gateway1")}


def test_without_observers_and_answers_nothing_outside_passes() -> None:
    evidence = copy.deepcopy(GOOD)
    evidence["routes"] = []
    states = outcomes(judged(evidence))
    for control in ("GW-03", "GW-04", "GW-05", "GW-06", "GW-07", "GW-08"):
        assert states[control, "gateway1"] == "not checked", control


def test_waivers_hold_by_control_by_rule_by_host_and_until_their_day() -> None:
    evidence = copy.deepcopy(GOOD)
    for name in ("engine11", "engine12"):
        process(evidence, name)["environment"]["VLLM_SERVER_DEV_MODE"] = "1"
    base = {"reason": "a test of ours", "owner": "tests", "expires": "2026-11-25"}

    def states(**waiver: Any) -> list[str]:
        result = outcomes(judged(evidence, waivers=read([HOLE, {**base, **waiver}])))
        return [result["ENG-01", name] for name in ("engine11", "engine12")]

    assert states(rule="ENG-01") == ["waived", "waived"]
    assert states(rule="env-dev-mode", owner="platform team") == ["waived", "waived"]
    assert states(rule="ENG-01", hosts=["engine11"]) == ["waived", "failed"]
    assert states(rule="ENG-01", expires="2026-11-24") == ["failed", "failed"]
    assert states(rule="ENG-02") == ["failed", "failed"]
    listed = judged(
        evidence, waivers=read([{**base, "rule": "ENG-02"}, {**base, "rule": "ENG-01", "expires": "2026-11-24"}])
    )
    assert [one["state"] for one in listed["waivers"]] == ["unused", "expired"]


def test_waivers_that_are_none_are_refused_with_all_that_is_wrong() -> None:
    with pytest.raises(InvalidWaiverError) as caught:
        read([{"rule": "x y", "reason": "short", "owner": "tests", "expires": "2026-02-30"}, 5])
    assert [problem.path for problem in caught.value.problems] == ["waivers[0].reason", "waivers[0].rule", "waivers[1]"]
    with pytest.raises(InvalidWaiverError, match=r"waivers\[0\].owner"):
        read([{"rule": "NET-01", "reason": "a test of ours", "expires": "2026-12-31"}])
    with pytest.raises(InvalidWaiverError, match="a date that exists"):
        read([{"rule": "NET-01", "reason": "a test of ours", "owner": "tests", "expires": "2026-02-30"}])


def test_comparison_says_what_is_new_gone_and_still_there() -> None:
    first, second = copy.deepcopy(GOOD), copy.deepcopy(GOOD)
    opened(first, "outsider", "engine11", "management", 9100)
    process(first)["environment"]["VLLM_SERVER_DEV_MODE"] = "1"
    opened(second, "outsider", "engine11", "management", 9100)
    unit(second)["NoNewPrivileges"] = "no"
    result = judged(second, previous=judged(first))
    states = {one["control"]: one["state"] for one in result["findings"] if not one["waived"]}
    assert states == {"NET-01": "still there", "ENG-17": "new"}
    assert {one["control"] for one in result["gone"]} == {"ENG-01"}


def test_the_order_of_the_evidence_does_not_matter() -> None:
    turned = copy.deepcopy(GOOD)
    turned["hosts"] = dict(reversed(turned["hosts"].items()))
    for part in turned["hosts"].values():
        for name in ("listeners", "files", "users"):
            part[name].reverse()
    assert judged(turned)["outcomes"] == judged(GOOD)["outcomes"]


def test_evidence_of_another_format_is_refused() -> None:
    with pytest.raises(InvalidQuestionError, match="the evidence has format 2; expected 1"):
        ask({**GOOD, "format": 2}, {}, [], {}, audit.TODAY)
    with pytest.raises(InvalidQuestionError, match="the former result has format None; expected 1"):
        ask(GOOD, {}, [], {}, audit.TODAY, {"findings": []})
    with pytest.raises(
        InvalidQuestionError, match=r"plans\[chat\] has format 2; expected 4: plan again with this release"
    ):
        ask(GOOD, {"chat": {**PLAN, "format": 2}}, [], {}, audit.TODAY)
