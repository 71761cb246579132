# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What single checks say where a whole cluster as planned does not show it."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.checks import CHECKS, nft
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.view import (
    Absent,
    Finding,
    Looked,
    Said,
    Unchecked,
    View,
)
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.views import views
from support import audit


def view(name: str = "engine11", plan: dict[str, Any] | None = None) -> View:
    made = plan or audit.plan()
    return next(one for one in views(audit.evidence(made), {"chat": made}, {}, audit.TODAY) if one.name == name)  # type: ignore[arg-type]


def say(check: str, given: View) -> list[Said]:
    return list(CHECKS[check](given))


def test_rdma_devices_need_a_name_for_what_isolates_them() -> None:
    plan = audit.plan()
    given = view(plan=plan)
    assert given.evidence is not None
    given.evidence["rdma_devices"] = [{"name": "mlx5_0"}]
    (found,) = say("rdma_devices", given)
    assert isinstance(found, Finding) and found.found == "mlx5_0"
    (fine,) = say("rdma_devices", dataclasses.replace(given, plan={**plan, "rdma_isolated_by": "partition 7"}))
    assert isinstance(fine, Looked) and "partition 7" in fine.at


def test_the_name_for_what_isolates_them_is_in_the_plan() -> None:
    networks = copy.deepcopy(audit.declaration("replicas")[0]["networks"])
    networks["fabric"]["rdma_isolated_by"] = "partition 7 of the subnet manager"
    assert audit.plan(networks=networks)["rdma_isolated_by"] == "partition 7 of the subnet manager"


def test_the_key_a_gateway_asks_for_itself_lies_where_its_client_keeps_it() -> None:
    """tls.key below /etc was missed for ever, and the key that is there was not looked at."""
    acme = {"directory": "https://acme.example.org/d", "contact": "a@example.org"}
    tls = {"issuer": "acme", "acme": acme}
    plan = audit.plan(gateway={"server_name": "llm.example.org", "tls": tls})
    given = view("gateway1", plan)
    assert {type(one) for one in say("secret_files", given)} == {Looked}
    key = "/var/lib/hardened-vllm-gateway/certificates/llm.example.org.key"
    assert given.evidence is not None
    file = next(one for one in given.evidence["files"] or [] if one["path"] == key)
    file["mode"] = "0644"
    assert [one.place for one in say("secret_files", given) if isinstance(one, Finding)] == [key]


def test_the_wall_around_the_proxy_for_media() -> None:
    plan = audit.plan(media={"allowed_domains": ["media.example.org"], "resolvers": ["10.21.0.53"]})
    given = view("gateway1", plan)
    (missing,) = say("media_wall", given)
    assert isinstance(missing, Finding) and missing.control == "NET-08"
    table = {"family": "inet", "table": "hardened_vllm"}
    names = [rule["name"] for rule in plan["hosts"]["gateway1"]["media"]["rules"]]
    rules: list[dict[str, Any]] = [
        {"chain": "output", "expr": [{"goto": {"target": "media_egress"}}]},
        *({"chain": "media_egress", "expr": [{"accept": None}], "comment": f"NET-08 {name}"} for name in names),
        {"chain": "media_egress", "expr": [{"reject": {}}]},
    ]
    assert given.evidence is not None and given.evidence["nftables"] is not None
    given.evidence["nftables"] += [{"rule": {**table, **rule}} for rule in rules]
    (fine,) = say("media_wall", given)
    assert isinstance(fine, Looked)
    (absent,) = say("media_wall", view("engine11", plan))
    assert isinstance(absent, Absent)


def test_the_operators_own_services() -> None:
    service = {"name": "exporter", "port": 9100, "network": "management", "from": ["10.21.9.0/24"]}
    plan = audit.plan(admin={"ssh_from": ["10.21.0.0/16"], "services": [service]})
    given = view(plan=plan)
    assert {type(one) for one in say("unplanned_ports", given) if one.control == "NET-05"} == {Looked}
    row = next(one for _seen, one in given.reach if one["address"].startswith("10.21."))
    row["open"].append(9100)
    assert {one.control for one in say("unplanned_ports", given) if isinstance(one, Finding)} == {"NET-05"}


@pytest.mark.parametrize(
    ("text", "elements", "same"),
    [
        (["10.0.0.1", "10.0.0.2"], [{"range": ["10.0.0.1", "10.0.0.2"]}], True),
        (["10.0.0.0/24"], [{"prefix": {"addr": "10.0.0.0", "len": 24}}], True),
        (["10.0.0.0/25", "10.0.0.128/25"], [{"prefix": {"addr": "10.0.0.0", "len": 24}}], True),
        (["::1"], [{"elem": {"val": "::1", "counter": {}}}], True),
        (["10.0.0.0/24"], [{"prefix": {"addr": "10.0.0.0", "len": 23}}], False),
    ],
)
def test_sets_compare_by_the_addresses_in_them(text: list[str], elements: list[Any], same: bool) -> None:
    assert (nft.spans(text) == nft.spans(elements)) is same


def test_a_check_says_nothing_of_a_fact_it_does_not_have() -> None:
    """Every check of a host without evidence says that it could not look, or that there is nothing to look at."""
    for name in ("engine11", "gateway1"):
        blind = dataclasses.replace(view(name), evidence=None, reach=(), endpoints=(), answers=())
        for check in CHECKS:
            assert {type(one) for one in say(check, blind)} <= {Unchecked, Absent}, check


def test_no_route_from_outside_is_as_good_as_a_closed_port_and_nobody_outside_is_not() -> None:
    plan = audit.plan()
    evidence = audit.evidence(plan)
    address = plan["hosts"]["engine11"]["addresses"]["fabric"]["ipv4"]
    elsewhere = [row for row in evidence["reach"][0]["reached"] if row["host"] != "engine11"]
    assert elsewhere
    evidence["reach"] = [{**evidence["reach"][0], "reached": [], "unknown": []}]

    def states() -> set[type]:
        given = next(one for one in views(evidence, {"chat": plan}, {}, audit.TODAY) if one.name == "engine11")  # type: ignore[arg-type]
        return {type(one) for one in say("bare_server", given)}

    assert states() == {Unchecked}
    evidence["reach"][0]["unknown"] = [{"fact": f"reached:{address}", "reason": "no route leads there"}]
    assert states() == {Unchecked}, "it has no route to anybody, so it has no network"
    evidence["reach"][0]["reached"] = elsewhere
    assert states() == {Looked}


def test_an_open_port_nobody_asked_is_not_checked() -> None:
    given = view("gateway1")
    given.reach[0][1]["open"] = [443, 9100]
    told = [one.why for one in say("bare_server", given) if isinstance(one, Unchecked)]
    assert len(told) == 1 and "tcp 9100 of" in told[0]


def on_socket() -> View:
    """One host with an engine on a socket and its gateway, as planned."""
    cluster, hosts = audit.declaration("replicas", (11,))
    host = hosts["engine11"]
    host["roles"] = ["engine", "gateway"]
    host["node"]["addresses"]["edge"] = ["192.0.2.11"]
    made = audit.make_plan({**cluster, "engine": {"listener": "unix"}}, {"engine11": host}, audit.TODAY)
    evidence: Any = copy.deepcopy(audit.host_evidence(made, "engine11"))
    return View("engine11", audit.TODAY, made, made["hosts"]["engine11"], evidence)


SOCKET = "/run/hardened-vllm-engine/api.sock"


@pytest.mark.parametrize(
    ("path", "spoilt", "found"),
    [
        (SOCKET, {"mode": "0777"}, "socket 0777 vllm:hardened-vllm-gateway"),
        (SOCKET, {"group": "vllm"}, "socket 0770 vllm:vllm"),
        (SOCKET, {"kind": "link"}, "link 0770 vllm:hardened-vllm-gateway"),
        ("/run/hardened-vllm-engine", {"mode": "0755"}, "directory 0755 vllm:hardened-vllm-gateway"),
        ("/run/hardened-vllm-engine", {"owner": "mallory"}, "directory 2750 mallory:hardened-vllm-gateway"),
    ],
)
def test_an_engines_socket_is_for_its_gateway_alone(path: str, spoilt: dict[str, str], found: str) -> None:
    given = on_socket()
    assert all(isinstance(said, Looked) for said in say("engine_sockets", given)), "as planned it passes"
    assert given.evidence is not None
    next(file for file in given.evidence["files"] or [] if file["path"] == path).update(spoilt)  # type: ignore[typeddict-item]
    (finding,) = [said for said in say("engine_sockets", given) if isinstance(said, Finding)]
    assert (finding.control, finding.place, finding.found) == ("GW-12", path, found)


def test_an_engine_on_a_socket_has_the_umask_for_it_and_no_port() -> None:
    given = on_socket()
    for check in ("engine_unit", "listening_sockets", "planned_processes", "cache_files"):
        said = say(check, given)
        assert said and not [one for one in said if isinstance(one, Finding)], check
    assert given.evidence is not None
    (given.evidence["units"] or {})["hardened-vllm-engine.service"]["UMask"] = "0077"
    (finding,) = [one for one in say("engine_unit", given) if isinstance(one, Finding)]
    assert (finding.found, finding.expected) == ("0077", "0007")
    (given.evidence["listeners"] or []).append(
        audit.socket(
            "tcp", "10.20.0.12", 8000, {**audit._owner("python", "vllm", "hardened-vllm-engine.service", "vllm")}
        )  # type: ignore[arg-type]
    )
    (finding,) = [one for one in say("listening_sockets", given) if isinstance(one, Finding)]
    assert finding.place == "tcp 8000 on 10.20.0.12"


@pytest.mark.parametrize(
    ("address", "port", "kind", "found"),
    [
        ("10.20.0.12", 40123, "vllm", False),
        ("fd20:1::b", 40123, "vllm", False),
        ("10.20.0.12", 45000, "vllm", True),
        ("10.21.0.12", 40123, "vllm", True),
        ("0.0.0.0", 40123, "vllm", True),
        ("10.20.0.12", 40123, None, True),
    ],
)
def test_the_workers_of_an_engine_without_peers_listen_on_the_fabric(
    address: str, port: int, kind: str | None, found: bool
) -> None:
    given = view(plan=audit.plan("replicas"))
    assert given.evidence is not None
    owner = audit._owner("VLLM::Worker", "vllm", "hardened-vllm-engine.service", kind)
    (given.evidence["listeners"] or []).append(audit.socket("tcp", address, port, {**owner}))  # type: ignore[arg-type]
    assert any(isinstance(said, Finding) for said in say("listening_sockets", given)) is found


def test_a_socket_nobody_saw_is_not_checked() -> None:
    given = on_socket()
    assert given.evidence is not None
    given.evidence["files"] = [file for file in given.evidence["files"] or [] if file["path"] != SOCKET]
    assert [type(said) for said in say("engine_sockets", given)] == [Looked, Unchecked]
    assert [type(said) for said in say("engine_sockets", view())] == [Absent]
