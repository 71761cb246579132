# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a declared gateway becomes, and which declarations of one are refused."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan, validate
from ansible_collections.hardened.vllm.plugins.plugin_utils.problems import Severity

from .conftest import CLUSTER, TODAY, engine

MONITOR = {"roles": ["monitor"], "node": {"addresses": {"management": ["10.20.2.150"]}}}


def declared(**changes: Any) -> dict[str, Any]:
    cluster = copy.deepcopy(CLUSTER) | {"topology": "replicas"}
    cluster["gateway"] |= changes.pop("gateway", {})
    return {**cluster, **changes}


def members(*more: str) -> dict[str, Any]:
    gateway = {"fabric": ["10.20.1.200"], "management": ["10.20.2.200"], "edge": ["192.0.2.200"]}
    found: dict[str, Any] = {"engine1": engine(11), "gateway1": {"roles": ["gateway"], "node": {"addresses": gateway}}}
    return found | {name: MONITOR if name == "monitor1" else engine(12) for name in more}


def part(*more: str, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = plan(declared(**changes), members(*more), TODAY)["hosts"]["gateway1"]["gateway"]
    return made


def found(*more: str, **changes: Any) -> list[tuple[str, str, str]]:
    problems = validate(declared(**changes), members(*more), TODAY)
    return [(one.rule, one.path, one.severity.name) for one in problems if one.rule != "release-old"]


def tenant(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "keys": [{"id": "k1"}], **more}


def test_a_release_has_only_its_own_routes() -> None:
    assert ("route-group-unknown", "vllm_cluster.gateway.routes[0]", "ERROR") in found(
        release="0.10.2", gateway={"routes": ["messages"]}
    )


def test_bodies_are_limited_by_group() -> None:
    limits = {"body_bytes": 1000, "route_body_bytes": {"chat": 5}}
    made = part(gateway={"limits": limits})
    assert {route["path"]: route["body_bytes"] for route in made["routes"]} == {
        "/v1/chat/completions": 5,
        "/v1/completions": 1000,
        "/v1/models": 0,
    }
    assert [rule for rule, *_more in found(gateway={"limits": {"route_body_bytes": {"audio": 5}}})] == [
        "route-not-offered"
    ]


@pytest.mark.parametrize(
    ("target", "matches"),
    [
        ("/v1/responses/resp_0123456789abcdef", True),
        ("/v1/responses/resp_0123456789abcdef?stream=true&starting_after=12", True),
        ("/v1/responses/resp_0123456789abcdef?starting_after=12&stream=false", True),
        ("/v1/responses/resp_0123456789abcdef?", False),
        ("/v1/responses/resp_0123456789abcdef?stream=yes", False),
        ("/v1/responses/resp_0123456789abcdef?stream=true&stream=true&stream=true", False),
        ("/v1/responses/resp_0123456789abcdef?include=a", False),
        ("/v1/responses/resp_0123456789abcdef/cancel", False),
        ("/v1/responses/resp_0123456789abcdef/", False),
        ("/v1/responses/0123456789abcdef", False),
        ("/v1/responses/resp_../../metrics", False),
        ("/v1/responses/resp_0123%2f%2e%2e", False),
        ("/v1/responses/", False),
    ],
)
def test_ids_and_queries_are_what_the_catalogue_says(target: str, matches: bool) -> None:
    routes = {route["path"]: route for route in part(gateway={"routes": ["responses-store"]})["routes"]}
    pattern = routes["/v1/responses/{response_id}"]["target"].replace("(?<", "(?P<")
    assert (re.fullmatch(pattern, target) is not None) is matches


@pytest.mark.parametrize(
    ("engine", "room"),
    [
        ({}, 1024 + 256),
        ({"arguments": {"max-num-seqs": 8}, "max_queued_requests": 4}, 12),
        ({"arguments": {"max_num_seqs": "8"}}, 8 + 256),
        ({"arguments": {"max-num-seqs": "many"}}, 1024 + 256),
    ],
)
def test_an_engine_has_room_for_what_it_works_on_and_what_may_wait(engine: dict[str, Any], room: int) -> None:
    assert [upstream["concurrent"] for upstream in part(engine=engine)["upstreams"]] == [room]


def test_what_makes_an_engine_work_is_told_apart() -> None:
    routes = part(gateway={"routes": ["models", "chat", "responses", "responses-store", "realtime"]})["routes"]
    assert {route["path"] for route in routes if not route["generates"]} == {
        "/v1/models",
        "/v1/responses/{response_id}",
        "/v1/responses/{response_id}/cancel",
    }


def test_a_websocket_is_a_get_without_a_body() -> None:
    (route,) = part(gateway={"routes": ["realtime"]})["routes"]
    assert (route["methods"], route["websocket"], route["body_bytes"]) == (["GET"], True, 0)


def test_stored_answers_are_for_one_tenant_and_one_engine() -> None:
    routes = ["responses", "responses-store"]
    two = [tenant("a"), tenant("b")]
    split = [tenant("a"), tenant("b", routes=["responses"])]
    assert found(gateway={"routes": routes}) == []
    assert [rule for rule, *_more in found(gateway={"routes": routes}, tenants=two)] == ["answers-shared"]
    assert found(gateway={"routes": routes}, tenants=split) == []
    assert [rule for rule, *_more in found("engine2", gateway={"routes": routes})] == ["answers-scattered"]
    assert found("engine2", gateway={"routes": routes, "balancing": "tenant"}) == []


def test_tenants_get_profiles_by_what_they_may_do() -> None:
    tenants = [tenant("c", body_bytes=9), tenant("a"), tenant("b", routes=["models"]), tenant("d")]
    made = part(tenants=tenants)
    every = ["chat", "completions", "models"]
    assert made["profiles"] == [
        {"groups": every, "body_bytes": None},
        {"groups": ["models"], "body_bytes": None},
        {"groups": every, "body_bytes": 9},
    ]
    assert {one["name"]: one["profile"] for one in made["tenants"]} == {"a": 0, "b": 1, "c": 2, "d": 0}
    assert [rule for rule, *_more in found(tenants=[tenant("a", routes=["audio"])])] == ["route-not-offered"]


def test_numbers_nginx_would_refuse_are_refused_before() -> None:
    assert {rule for rule, *_more in found(tenants=[tenant("a", concurrent=65536)])} == {"out-of-range"}
    assert found(tenants=[tenant("a", concurrent=65535)]) == []


def test_a_tenant_without_any_route_or_network_is_a_mistake() -> None:
    assert {rule for rule, *_more in found(tenants=[tenant("a", routes=[])])} == {"too-few"}
    assert {rule for rule, *_more in found(tenants=[{**tenant("a"), "from": []}])} == {"too-few"}
    assert {rule for rule, *_more in found(tenants=[{**tenant("a"), "from": ["10.0.0.1/8"]}])} == {"bad-value"}


@pytest.mark.parametrize(
    ("expires", "rules"),
    [
        ("2026-11-22", ["key-expired"]),
        ("2026-11-23", ["key-expired"]),
        ("2026-11-24", ["key-expires"]),
        ("2026-11-23T12:00:00Z", ["key-expires"]),
        ("2026-12-30", []),
        ("2026-02-30", ["bad-value"]),
        ("2026-12-30T25:00:00Z", ["bad-value"]),
        ("tomorrow", ["bad-value"]),
    ],
)
def test_keys_that_end(expires: str, rules: list[str]) -> None:
    given = declared(tenants=[tenant("a", keys=[{"id": "k1", "expires": expires}])])
    problems = [problem for problem in validate(given, members(), TODAY) if problem.rule != "release-old"]
    assert [problem.rule for problem in problems] == rules
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    assert bool(errors) is (rules == ["bad-value"]), "an old key must not stop a run"


def test_the_moment_a_key_ends_is_in_the_plan() -> None:
    keys = [{"id": "k1", "expires": "2027-01-31"}, {"id": "k2", "expires": "2027-01-31T00:00:01Z"}, {"id": "k3"}]
    made = part(tenants=[tenant("a", keys=keys)])["tenants"][0]["keys"]
    assert [key["expires"] for key in made] == [1801353600, 1801353601, None]


def test_monitors_have_a_door_of_their_own() -> None:
    cluster = declared(gateway={"monitor_port": 9443})
    made = plan(cluster, members("monitor1"), TODAY)
    assert made["hosts"]["gateway1"]["gateway"]["monitor"] == {
        "listen": [{"address": "10.20.2.200", "port": 9443}],
        "from": ["10.20.2.150"],
        "paths": ["/health", "/metrics"],
    }
    assert made["sets"]["monitors"] == {"ipv4": ["10.20.2.150"], "ipv6": []}
    (row,) = [row for row in made["matrix"] if row["listener"] == "monitor"]
    assert (row["to"], row["network"], row["ports"], row["open_to"]) == ("gateway1", "management", "9443", ["monitors"])


def test_without_monitors_there_is_no_such_door() -> None:
    made = plan(declared(), members("monitor1"), TODAY)
    assert made["hosts"]["gateway1"]["gateway"]["monitor"] is None
    assert "monitors" not in made["sets"]
    assert [row for row in made["matrix"] if row["listener"] == "monitor"] == []


def test_doors_for_monitors_that_cannot_be() -> None:
    assert ("monitor-missing", "vllm_cluster.gateway.monitor_port", "ERROR") in found(gateway={"monitor_port": 9443})
    taken = {"monitor_port": 443, "network": "management"}
    for gateway in ({"monitor_port": 22}, taken):
        assert [rule for rule, *_more in found("monitor1", gateway=gateway)] == ["port-collision"]


@pytest.mark.parametrize("origin", ["*", "https://a.example/", "http://a.example", "https://*.example", "null", "a"])
def test_origins_are_exact(origin: str) -> None:
    assert [rule for rule, *_more in found(gateway={"cors_origins": [origin]})] == ["bad-value"]
    assert part(gateway={"cors_origins": ["https://a.example"]})["cors_origins"] == ["https://a.example"]


PRIVATE = {"issuer": "private"}
ACME = {"issuer": "acme", "acme": {"directory": "https://ca.example/dir", "contact": "operations@example.org"}}


def test_a_list_of_revoked_certificates_is_one_of_an_authority() -> None:
    tls = {"certificate": "/c", "key": "/k", "client_revocations": "/r"}
    assert [(rule, path) for rule, path, _severity in found(gateway={"tls": tls})] == [
        ("client-authority-missing", "vllm_cluster.gateway.tls.client_revocations")
    ]
    assert found(gateway={"tls": {**tls, "client_authority": "/a"}}) == []
    assert part(gateway={"tls": {**tls, "client_authority": "/a"}})["tls"]["client_revocations"] == "/r"


def test_where_the_certificate_lies() -> None:
    files, private, acme = (part(gateway={"tls": tls})["tls"] for tls in (CLUSTER["gateway"]["tls"], PRIVATE, ACME))
    name = CLUSTER["gateway"]["server_name"]
    assert [tls["names"] for tls in (files, private, acme)] == [[name]] * 3
    assert files["certificate"] == CLUSTER["gateway"]["tls"]["certificate"] and "authority" not in files
    directory = CLUSTER["secrets_directory"] + "/tls"
    assert {private[member] for member in ("certificate", "key", "authority", "authority_key")} == {
        *(f"{directory}/gateway.pem", f"{directory}/gateway.key"),
        *(f"{directory}/authority.pem", f"{directory}/authority.key"),
    }
    assert acme["certificate"] == f"/var/lib/hardened-vllm-gateway/certificates/{name}.crt"


@pytest.mark.parametrize(("tls", "ports"), [(PRIVATE, []), (ACME, ["80"])])
def test_an_acme_server_may_ask_back(tls: dict[str, Any], ports: list[str]) -> None:
    made = plan(declared(gateway={"tls": tls}), members(), TODAY)["hosts"]["gateway1"]
    assert [listener["ports"] for listener in made["listeners"] if listener["name"] == "acme"] == ports


def test_without_engine_tls_neither_end_speaks_it() -> None:
    made = plan(declared(), members(), TODAY)
    engine_part = made["hosts"]["engine1"]["engines"][0]
    assert engine_part["tls"] is None and made["hosts"]["gateway1"]["gateway"]["upstream_tls"] is None
    assert not [word for word in engine_part["argv"] if "ssl" in word]
    assert [one["certificate"] for one in made["certificates"]] == [declared()["gateway"]["tls"]["certificate"]]


def test_both_ends_have_the_same_certificates_by_authorities_that_sign_for_nothing_else() -> None:
    made = plan(declared(engine={"tls": {"client": True}}), members("engine2"), TODAY)
    engine_part, upstream = made["hosts"]["engine1"]["engines"][0], made["hosts"]["gateway1"]["gateway"]["upstream_tls"]
    assert engine_part["tls"] == upstream
    assert (upstream["name"], upstream["names"]) == ("engines.internal", ["engines.internal"])
    assert upstream["client"]["names"] == ["gateways.engines.internal"]
    rows = {
        one["certificate"].rpartition("/")[2]: (one["purpose"], one["authority"]) for one in made["certificates"][1:]
    }
    assert rows == {
        "engines.pem": ("server", "/srv/secrets/tls/engines-authority.pem"),
        "gateways.pem": ("client", "/srv/secrets/tls/gateways-authority.pem"),
    }
    words = " ".join(engine_part["argv"])
    pem = "/etc/hardened-vllm/engine/tls.pem"
    assert f"--ssl-keyfile {pem} --ssl-certfile {pem} --enable-ssl-refresh" in words
    assert "--ssl-ca-certs /etc/hardened-vllm/engine/clients.pem --ssl-cert-reqs 2" in words


def test_files_of_ones_own_are_looked_at_and_nothing_is_made() -> None:
    files = {"certificate": "/c", "key": "/k", "authority": "/a", "name": "engines.example.org"}
    made = plan(declared(engine={"tls": {"issuer": "files", **files}}), members(), TODAY)
    own = made["certificates"][1]
    assert (own["authority"], own["authority_key"], own["names"]) == ("/a", None, ["engines.example.org"])
    assert made["hosts"]["engine1"]["engines"][0]["tls"]["client"] is None and len(made["certificates"]) == 2


def test_nodes_without_a_server_have_no_certificate() -> None:
    cluster = declared(topology="data_parallel", engine={"tls": {}})
    made = plan(cluster, members("engine2"), TODAY)
    assert [made["hosts"][f"engine{number}"]["engines"][0]["tls"] is None for number in (1, 2)] == [False, True]
    assert not [word for word in made["hosts"]["engine2"]["engines"][0]["argv"] if "ssl" in word]


@pytest.mark.parametrize("release", catalogue.releases())
def test_every_release_takes_the_options(release: str) -> None:
    problems = validate(declared(release=release, engine={"tls": {"client": True}}), members(), TODAY)
    assert [one for one in problems if "ssl" in one.sentence()] == []
