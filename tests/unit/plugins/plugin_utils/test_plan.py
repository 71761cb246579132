# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the plans of single topologies hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import InvalidDeclarationError, plan
from ansible_collections.hardened.vllm.plugins.plugin_utils.report.explain import explain
from support.properties import furnished
from support.topologies import declaration

from .conftest import CLUSTER, TODAY, engine


def build(topology: str, numbers: list[int], **more: Any) -> dict[str, Any]:
    gateway = {"fabric": ["10.20.1.200"], "management": ["10.20.2.200"], "edge": ["192.0.2.200"]}
    hosts = {f"engine{number}": engine(number) for number in numbers}
    hosts["gateway1"] = {"roles": ["gateway"], "node": {"addresses": gateway}}
    return plan({**CLUSTER, "topology": topology, **more}, hosts, TODAY)


def test_data_parallel_places_every_rank() -> None:
    made = build("data_parallel", [12, 11], engine={"ranks_per_node": 4})
    head, other = (made["hosts"][name]["engines"][0] for name in ("engine11", "engine12"))
    assert head["api"] == {"address": "10.20.1.11", "port": 8000}
    assert other["api"] is None
    assert other["secret_arguments"] == {}
    words = " ".join(other["argv"])
    assert "--data-parallel-size 8 --data-parallel-size-local 4 --headless --data-parallel-start-rank 4 " in words
    assert "--data-parallel-address 10.20.1.11 --data-parallel-rpc-port 29550" in words
    assert head["environment"]["VLLM_HOST_IP"] == "10.20.1.11"
    assert head["environment"]["GLOO_SOCKET_IFNAME"] == "eth1"
    assert head["environment"]["NCCL_SOCKET_IFNAME"] == "=eth1"


def test_tensor_parallel_spans_the_nodes() -> None:
    made = build("tensor_parallel", [11, 12], engine={"ranks_per_node": 4})
    words = " ".join(made["hosts"]["engine12"]["engines"][0]["argv"])
    assert "--tensor-parallel-size 8 --nnodes 2 --node-rank 1 --master-addr 10.20.1.11 --master-port 29501" in words
    assert [item["name"] for item in made["hosts"]["engine11"]["listeners"]] == [
        "api",
        "fabric-ephemeral",
        "rendezvous",
        "ssh",
    ]


def test_replicas_do_not_talk_to_each_other() -> None:
    made = build("replicas", [11, 12])
    assert not [name for name in made["sets"] if name.startswith("peers")]
    assert [item["name"] for item in made["hosts"]["gateway1"]["gateway"]["upstreams"]] == ["engine11", "engine12"]


PROXY = {"address": "10.20.2.80", "port": 3128}


def test_media_domains_are_never_empty() -> None:
    argv = build("replicas", [11])["hosts"]["engine11"]["engines"][0]["argv"]
    assert argv[argv.index("--allowed-media-domains") + 1] == "media-disabled.invalid"
    chosen = build("replicas", [11], media={"allowed_domains": ["b.example.org", "a.example.org"], "proxy": PROXY})
    argv = chosen["hosts"]["engine11"]["engines"][0]["argv"]
    start = argv.index("--allowed-media-domains")
    assert argv[start + 1 : start + 3] == ["a.example.org", "b.example.org"]


def test_gateways_pass_only_what_was_asked_for() -> None:
    gateway = build("replicas", [11], gateway={**CLUSTER["gateway"], "routes": ["chat"]})["hosts"]["gateway1"][
        "gateway"
    ]
    assert [(route["path"], route["methods"]) for route in gateway["routes"]] == [("/v1/chat/completions", ["POST"])]


def test_declared_rank_decides_who_is_head() -> None:
    hosts = {"engine1": engine(11), "engine2": engine(12)}
    hosts["engine2"]["node"]["rank"] = 0
    hosts["engine1"]["node"]["rank"] = 1
    gateway = {"fabric": ["10.20.1.200"], "management": ["10.20.2.200"], "edge": ["192.0.2.200"]}
    hosts["gateway1"] = {"roles": ["gateway"], "node": {"addresses": gateway}}
    made = plan(CLUSTER, hosts, TODAY)
    assert made["hosts"]["engine2"]["engines"][0]["api"] is not None
    assert made["hosts"]["engine1"]["engines"][0]["api"] is None


def test_natural_order_of_names() -> None:
    made = build("data_parallel", [2, 10])
    assert made["hosts"]["engine2"]["engines"][0]["rank"] == 0


def test_an_invalid_declaration_has_no_plan() -> None:
    with pytest.raises(InvalidDeclarationError, match="release-unknown"):
        build("replicas", [11], release="9.9.9")


def of(name: str) -> dict[str, Any]:
    return plan(*declaration(name), TODAY)


def words(made: dict[str, Any], host: str, process: int = 0) -> str:
    return " ".join(made["hosts"][host]["engines"][process]["argv"])


def named(made: dict[str, Any], host: str) -> dict[str, tuple[str, str, list[str]]]:
    return {item["name"]: (item["ports"], item["bind"], item["from"]) for item in made["hosts"][host]["listeners"]}


def test_engines_of_one_node_have_ports_of_their_own() -> None:
    made = of("several engines on a node")
    parts = made["hosts"]["engine11"]["engines"]
    assert [(part["name"], part["unit"], part["api"]["port"]) for part in parts] == [
        ("engine", "hardened-vllm-engine.service", 8000),
        ("engine-1", "hardened-vllm-engine-1.service", 8001),
        ("engine-2", "hardened-vllm-engine-2.service", 8002),
    ]
    assert [item["name"] for item in made["hosts"]["gateway1"]["gateway"]["upstreams"]][:3] == [
        "engine11",
        "engine11-1",
        "engine11-2",
    ]
    assert "--tensor-parallel-size 2" in words(made, "engine11", 2)


def test_pipeline_stages_are_the_nodes() -> None:
    made = of("pipeline parallel")
    expected = "--tensor-parallel-size 8 --pipeline-parallel-size 4 --nnodes 4 --node-rank 3 --master-addr 10.20.0.12"
    assert expected in words(made, "engine14")
    assert named(made, "engine11")["rendezvous"] == ("29501", "*", ["peers-engine11"])


def test_hybrid_balancing_has_one_api_on_each_node() -> None:
    made = of("data parallel, hybrid")
    second = made["hosts"]["engine12"]["engines"][0]
    assert second["api"] is not None
    assert second["data_parallel_ranks"] == 4
    assert "--data-parallel-size-local 4 --data-parallel-hybrid-lb --data-parallel-start-rank 4 " in words(
        made, "engine12"
    )
    assert "--headless" not in words(made, "engine12")


def test_external_balancing_has_one_process_for_each_rank() -> None:
    made = of("data parallel, external")
    ranks = [
        part["argv"][part["argv"].index("--data-parallel-rank") + 1] for part in made["hosts"]["engine13"]["engines"]
    ]
    assert ranks == ["4", "5"]
    assert [part["api"]["port"] for part in made["hosts"]["engine13"]["engines"]] == [8000, 8001]
    assert "data-parallel-handshake" in named(made, "engine11")
    assert "data-parallel-handshake" not in named(made, "engine12")


def test_ray_is_pinned_asks_for_a_token_and_shows_no_dashboard() -> None:
    made = of("tensor parallel, ray")
    head, worker = made["hosts"]["engine11"], made["hosts"]["engine12"]
    assert "--tensor-parallel-size 32 --distributed-executor-backend ray" in words(made, "engine11")
    assert worker["engines"] == []
    assert "--head --port 6379 --include-dashboard=false" in " ".join(head["ray"]["argv"])
    assert "--address 10.20.0.12:6379" in " ".join(worker["ray"]["argv"])
    for part in (head["ray"], worker["ray"]):
        assert part["environment"]["RAY_AUTH_MODE"] == "token"
        assert part["environment"]["RAY_AUTH_TOKEN_PATH"] in part["secret_files"]
    assert {"name": "ray", "file": "/srv/secrets/ray.key"} in made["secrets"]
    assert "VLLM_API_KEY" in head["ray"]["kept_back"]["variables"]
    assert named(made, "engine12")["ray-workers"] == ("20000-20999", "*", ["peers-engine11"])
    assert "10001" in head["sysctl"]["net.ipv4.ip_local_reserved_ports"]
    assert "10001" not in {listener["ports"] for listener in head["listeners"]}


def test_nixl_is_pinned_to_the_fabric_and_open_to_the_other_stage() -> None:
    made = of("disaggregated, data parallel, nixl")
    prefill = made["hosts"]["engine13"]
    assert prefill["engines"][0]["environment"]["VLLM_NIXL_SIDE_CHANNEL_HOST"] == "10.20.0.14"
    assert named(made, "engine13")["nixl-side-channel"] == ("5602-5603", "10.20.0.14", ["decode"])
    assert named(made, "engine13")["fabric-ephemeral"][2] == ["decode", "peers-prefill-engine11"]
    assert '{"kv_connector": "NixlConnector", "kv_role": "kv_producer"}' in words(made, "engine13")
    assert '{"kv_connector": "NixlConnector", "kv_role": "kv_consumer"}' in words(made, "engine12")


def test_mooncake_is_closed_by_the_firewall_because_it_binds_everything() -> None:
    made = of("disaggregated, mooncake")
    assert named(made, "engine11")["mooncake-bootstrap"] == ("8998", "*", ["decode", "gateways"])
    assert "mooncake-bootstrap" not in named(made, "engine12")


def test_connectors_are_joined() -> None:
    made = of("disaggregated with cache")
    text = made["hosts"]["engine11"]["engines"][0]["argv"]
    config = json.loads(text[text.index("--kv-transfer-config") + 1])
    assert [item["kv_connector"] for item in config["kv_connector_extra_config"]["connectors"]] == [
        "NixlConnector",
        "LMCacheConnectorV1",
    ]


def test_events_are_open_to_their_subscribers() -> None:
    made = of("events")
    assert named(made, "engine12")["kv-events"] == ("5559-5560", "*", ["event-subscribers"])
    assert '"endpoint": "tcp://*:5557"' in words(made, "engine12")
    assert '"endpoint": "tcp://*:5558"' in words(of("events of several engines"), "engine12", 1)


def test_what_an_installation_may_call_no_engine_may() -> None:
    cluster, hosts = declaration("replicas")
    index = {"name": "index", "port": 443, "purpose": "install", "why": "wheels"}
    cluster["egress"] = [
        {**index, "to": ["10.20.9.8/32", "fd20:9::8/128"]},
        {**index, "name": "names", "to": ["10.20.9.0/30"]},
    ]
    made = plan(cluster, hosts, TODAY)
    assert made["hosts"]["engine11"]["install"]["destinations"] == ["10.20.9.0/30", "10.20.9.8/32", "fd20:9::8/128"]
    assert calls(made, "engine11") == {}
    assert [name for name in made["sets"] if name.startswith("egress")] == []
    assert "10.20.9.8" not in str(made["hosts"]["engine11"]["engines"])


@pytest.mark.parametrize(
    ("install", "destinations"),
    [
        ({}, None),
        ({"index_url": "https://index.example.org/simple"}, None),
        ({"index_url": "https://index.example.org/simple", "find_links": "/opt/wheels"}, None),
        ({"find_links": "/opt/wheels"}, []),
        ({"bundle": "bundles/0.32.0"}, []),
    ],
)
def test_an_installation_from_wheels_on_the_node_calls_nobody(install: dict[str, Any], destinations: Any) -> None:
    cluster, hosts = declaration("replicas")
    cluster["install"] = install
    assert plan(cluster, hosts, TODAY)["hosts"]["engine11"]["install"]["destinations"] == destinations
    cluster["egress"] = [{"name": "index", "to": ["10.20.9.8/32"], "port": 443, "purpose": "install", "why": "wheels"}]
    assert plan(cluster, hosts, TODAY)["hosts"]["engine11"]["install"]["destinations"] == ["10.20.9.8/32"]


def test_kv_ip_is_set_where_the_release_has_it() -> None:
    cluster, hosts = declaration("cache")
    assert "kv_ip" not in words(plan(cluster, hosts, TODAY), "engine11")
    cluster["release"] = "0.31.0"
    assert '"kv_ip": "10.20.0.12"' in words(plan(cluster, hosts, TODAY), "engine11")


def test_fields_of_an_option_keep_their_names() -> None:
    arguments = {"kv_transfer_config.kv_connector_extra_config.a_b": 1, "max_model_len": 8192}
    argv = build("replicas", [11], engine={"arguments": arguments})["hosts"]["engine11"]["engines"][0]["argv"]
    assert argv[-4:] == ["--kv-transfer-config.kv_connector_extra_config.a_b", "1", "--max-model-len", "8192"]


@pytest.mark.parametrize(
    ("arguments", "option", "seconds"),
    [({}, "90", 120), ({"shutdown_timeout": 600}, "600", 630), ({"shutdown-timeout": "0"}, "0", 120)],
)
def test_an_engine_has_longer_to_stop_than_its_requests_to_end(
    arguments: dict[str, Any], option: str, seconds: int
) -> None:
    made = build("replicas", [11], engine={"arguments": arguments})["hosts"]["engine11"]["engines"][0]
    argv = made["argv"]
    assert argv.count("--shutdown-timeout") == 1
    assert argv[argv.index("--shutdown-timeout") + 1] == option
    assert made["stop"] == {"timeout_seconds": seconds}


def calls(made: dict[str, Any], host: str) -> dict[str, tuple[str, str, str]]:
    rules = made["hosts"][host]["egress"]["rules"]
    return {rule["name"]: (rule["to"], rule["protocol"], rule["ports"]) for rule in rules}


def test_engines_call_their_peers_and_nobody_else() -> None:
    assert calls(of("replicas"), "engine11") == {}
    assert calls(of("tensor parallel twice"), "engine13") == {
        "peers-engine13-tcp": ("peers-engine13", "tcp", "29501,40000-44999")
    }
    assert calls(of("disaggregated, nixl"), "engine11") == {"decode-tcp": ("decode", "tcp", "40000-44999,5600")}
    assert calls(of("disaggregated, mooncake"), "engine12") == {"prefill-tcp": ("prefill", "tcp", "40000-44999,8998")}
    assert of("replicas")["hosts"]["gateway1"]["egress"] is None


def test_what_is_declared_may_be_called() -> None:
    cluster, hosts = declaration("cache")
    cluster["egress"] = [{"name": "traces", "to": ["10.20.9.0/28"], "port": 4317, "why": "traces"}]
    cluster["media"] = {"allowed_domains": ["a.example.org"], "proxy": PROXY}
    made = plan(cluster, hosts, TODAY)
    assert calls(made, "engine11") == {
        "cache-0": ("cache-0", "tcp", "65432"),
        "media-proxy": ("media-proxy", "tcp", "3128"),
        "traces": ("egress-traces", "tcp", "4317"),
    }
    assert made["sets"]["egress-traces"]["ipv4"] == ["10.20.9.0/28"]
    assert made["hosts"]["engine11"]["install"]["destinations"] is None
    environment = made["hosts"]["engine11"]["engines"][0]["environment"]
    assert environment["HTTPS_PROXY"] == environment["HTTP_PROXY"] == "http://10.20.2.80:3128"
    assert "HTTP_PROXY" not in of("cache")["hosts"]["engine11"]["engines"][0]["environment"]


def direct(name: str, host: str, **more: Any) -> list[str]:
    cluster, hosts = declaration(name)
    cluster |= {"media": {"allowed_domains": ["a.example.org"], "proxy": PROXY}, **more}
    environment = plan(cluster, hosts, TODAY)["hosts"][host]["engines"][0]["environment"]
    assert environment["NO_PROXY"] == environment["no_proxy"]
    return environment["NO_PROXY"].split(",")[3:]


def test_the_proxy_is_for_media_and_not_for_what_an_engine_reaches_itself() -> None:
    assert direct("data parallel, internal", "engine12") == ["10.20.0.13"]
    assert direct("disaggregated, mooncake", "engine12") == ["10.20.0.13", "10.20.0.12", "10.20.0.14"], (
        "the prefill engines"
    )
    assert direct("disaggregated, mooncake", "engine13") == ["10.20.0.14"], "its own bootstrap server"
    assert direct("disaggregated, tensor parallel, mooncake", "engine13") == ["10.20.0.14", "10.20.0.12"], "its head"
    assert direct("tensor parallel, ray", "engine11") == ["10.20.0.12", "10.20.0.13", "10.20.0.14", "10.20.0.15"]
    assert direct("cache", "engine11") == ["10.20.0.12", "10.20.3.5"]
    traces = [{"name": "traces", "to": ["10.20.9.0/28"], "port": 4318, "why": "traces"}]
    assert direct("replicas", "engine11", egress=traces) == ["10.20.0.12", "10.20.9.0/28"]


def test_a_unit_exchanges_packets_with_nobody_else() -> None:
    made = of("tensor parallel twice")
    engine = made["hosts"]["engine11"]["engines"][0]
    assert engine["addresses"] == ["10.20.0.12", "10.21.0.12", "fd20:1::b"]
    assert engine["sets"] == ["gateways", "peers-engine11"]
    addresses = [text for name in engine["sets"] for family in ("ipv4", "ipv6") for text in made["sets"][name][family]]
    assert {"10.20.0.12", "10.20.0.13", "10.20.255.200"} <= set(addresses)
    assert "10.20.0.14" not in addresses, "the other engine"
    assert not [text for text in addresses if text.endswith("/0")]


@pytest.mark.parametrize(
    "name", ["data parallel, internal", "data parallel, ray", "disaggregated, data parallel, nixl"]
)
def test_a_plan_grows_with_its_hosts_and_not_with_their_square(name: str) -> None:
    declared = (furnished(*declaration(name, range(1, number + 1))) for number in (50, 100))
    small, large = (plan(*made, TODAY) for made in declared)
    assert len(json.dumps(large)) < 2.1 * len(json.dumps(small))
    assert len("".join(explain(large))) < 2.1 * len("".join(explain(small)))


def test_the_plan_in_words_says_what_bounds_the_memory_of_an_engine() -> None:
    assert (
        "engine: node 0 of engine11 (1 node(s)), serves example, memory without limit (engine.memory_max)"
        in "".join(explain(build("replicas", [11])))
    )
    bounded = "".join(explain(build("replicas", [11], engine={"memory_max": "64G"})))
    assert "64G of memory at most" in bounded and "without limit" not in bounded
