# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every mistake is refused with its rule, its place and a remedy; a sound declaration is not."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import validate
from ansible_collections.hardened.vllm.plugins.plugin_utils.problems import Severity
from hypothesis import given, settings
from hypothesis import strategies as st
from support.topologies import declaration

from .conftest import TODAY
from .test_topology_rules import MISTAKES as TOPOLOGY_MISTAKES

SOURCE = Path(__file__).resolve().parents[4] / "plugins" / "plugin_utils"
Mistake = Callable[[Any, Any], Any]


def errors(cluster: Any, hosts: Any, today: Any) -> list[tuple[str, str]]:
    return [
        (problem.rule, problem.path)
        for problem in validate(cluster, hosts, today)
        if problem.severity is Severity.ERROR
    ]


def test_a_sound_declaration_has_no_problem_but_the_advisories_of_its_release(
    cluster: Any, hosts: Any, today: Any
) -> None:
    (problem,) = validate(cluster, hosts, today)
    assert (problem.rule, problem.path, problem.severity) == ("release-old", "vllm_cluster.release", Severity.WARNING)


def put(path: str, value: Any) -> Mistake:
    def mistake(cluster: Any, hosts: Any) -> None:
        target: Any = {"cluster": cluster, "hosts": hosts}
        *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
        for part in parents:
            target = target.setdefault(part, {}) if isinstance(target, dict) else target[part]
        target[last] = value

    return mistake


def addresses(host: str, network: str, value: list[str]) -> Mistake:
    return put(f"hosts/{host}/node/addresses/{network}", value)


def both(*mistakes: Mistake) -> Mistake:
    def mistake(cluster: Any, hosts: Any) -> None:
        for one in mistakes:
            one(cluster, hosts)

    return mistake


def probed(probe: dict[str, Any]) -> Mistake:
    return put("hosts/engine1/probe", probe)


SOUND = {"addresses": {"10.20.1.11": "eth1", "fd20:1::11": "eth1", "10.20.2.11": "eth0"}}
EARLY = {"chain": "first", "type": "nat", "hook": "prerouting", "priority": -150, "policy": "accept"}
IN_TIME = {**EARLY, "chain": "usual", "priority": -100}
CARDS = {"accelerators": ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl"]}
SIZES = {"attention_heads": 32, "key_value_heads": 8, "layers": 32, "experts": 8}


def sized(**sizes: int | None) -> Mistake:
    return probed({**SOUND, "models": {"/srv/models/example": {**SIZES, **sizes}}})


def no_edge(cluster: Any, hosts: Any) -> None:
    del cluster["networks"]["management"]
    cluster["admin"]["ssh_from"] = ["10.20.1.0/24"]
    hosts["engine1"]["node"]["addresses"]["edge"] = hosts["engine1"]["node"]["addresses"].pop("management")
    del cluster["networks"]["edge"]
    cluster["gateway"]["network"] = "fabric"


old_release = both(
    put("cluster/engine", {"arguments": {"max-num-queued-tokens": 1000}}), put("cluster/release", "0.22.1")
)


CALL = {"name": "traces", "to": ["10.20.9.0/28"], "port": 4317, "why": "traces"}
ACME, OTHER = ({"name": name, "keys": [{"id": "k1"}]} for name in ("acme", "other"))
store = put("cluster/gateway/routes", ["responses", "responses-store"])
TLS, PROVED = "vllm_cluster.gateway.tls", "vllm_cluster.tenants[0].certificate"
ACME_SERVER = {"directory": "https://ca.example/dir", "contact": "ops@example.org"}
SECOND_GATEWAY = {"fabric": ["10.20.1.201"], "management": ["10.20.2.201"], "edge": ["192.0.2.201"]}


def acme(mistake: Mistake) -> Mistake:
    return both(put("cluster/gateway/tls", {"issuer": "acme", "acme": dict(ACME_SERVER)}), mistake)


MISTAKES: list[tuple[str, str, Mistake]] = [
    ("unknown-key", "vllm_cluster.modle", put("cluster/modle", {})),
    ("wrong-type", "vllm_cluster.tenants", put("cluster/tenants", "acme")),
    ("missing-key", "vllm_cluster.model.path", put("cluster/model", {"name": "example"})),
    ("bad-value", "vllm_cluster.topology", put("cluster/topology", "star")),
    ("out-of-range", "vllm_cluster.engine.port", put("cluster/engine/port", 70000)),
    ("release-unknown", "vllm_cluster.release", put("cluster/release", "0.1.0")),
    ("fabric-public", "vllm_cluster.networks.fabric.cidrs[0]", put("cluster/networks/fabric/cidrs", ["0.0.0.0/0"])),
    ("fabric-public", "vllm_cluster.networks.fabric.cidrs[0]", put("cluster/networks/fabric/cidrs", ["8.8.8.0/24"])),
    ("network-overlap", "vllm_cluster.networks.management", put("cluster/networks/management/cidrs", ["10.20.0.0/16"])),
    ("bad-value", "vllm_cluster.networks.fabric.cidrs[0]", put("cluster/networks/fabric/cidrs", ["10.20.1.7/24"])),
    (
        "address-outside-network",
        "hosts.engine1.vllm_node.addresses.fabric[0]",
        addresses("engine1", "fabric", ["10.99.1.1"]),
    ),
    ("address-shared", "hosts.engine2.vllm_node.addresses.fabric", addresses("engine2", "fabric", ["10.20.1.11"])),
    ("address-wildcard", "hosts.engine1.vllm_node.addresses.fabric[0]", addresses("engine1", "fabric", ["0.0.0.0"])),
    ("address-wildcard", "hosts.engine1.vllm_node.addresses.fabric[0]", addresses("engine1", "fabric", ["127.0.0.1"])),
    ("address-wildcard", "hosts.engine1.vllm_node.addresses.fabric[0]", addresses("engine1", "fabric", ["::"])),
    ("bad-value", "hosts.engine1.vllm_node.addresses.fabric[0]", addresses("engine1", "fabric", ["engine1"])),
    (
        "address-missing",
        "hosts.gateway1.vllm_node.addresses.edge",
        put("hosts/gateway1/node/addresses", {"fabric": ["10.20.1.200"], "management": ["10.20.2.200"]}),
    ),
    ("missing-key", "hosts.engine1.vllm_node", put("hosts/engine1/node", None)),
    ("host-missing", "groups.vllm_gateways", lambda cluster, hosts: hosts.pop("gateway1")),
    ("port-collision", "vllm_cluster.engine.master_port", put("cluster/engine/master_port", 8000)),
    ("port-collision", "vllm_cluster.engine.port", put("cluster/engine/port", 40001)),
    ("out-of-range", "vllm_cluster.engine.ephemeral_ports", put("cluster/engine/ephemeral_ports", "40000-40010")),
    ("bad-value", "vllm_cluster.engine.ephemeral_ports", put("cluster/engine/ephemeral_ports", "50000-40000")),
    ("path-out-of-reach", "vllm_cluster.model.path", put("cluster/model/path", "/home/me/model")),
    ("bad-value", "vllm_cluster.engine.devices[0]", put("cluster/engine/devices", ["/dev/nvidia*"])),
    ("argument-owned", "vllm_cluster.engine.arguments.host", put("cluster/engine/arguments", {"host": "0.0.0.0"})),
    ("argument-owned", "vllm_cluster.engine.arguments.api_key", put("cluster/engine/arguments", {"api_key": "x"})),
    (
        "argument-owned",
        "vllm_cluster.engine.arguments.allowed-media-domains",
        put("cluster/engine/arguments", {"allowed-media-domains": []}),
    ),
    (
        "argument-owned",
        "vllm_cluster.engine.arguments.no-disable-fastapi-docs",
        put("cluster/engine/arguments", {"no-disable-fastapi-docs": True}),
    ),
    (
        "argument-owned",
        "vllm_cluster.engine.arguments.kv-transfer-config.kv_port",
        both(
            put("cluster/cache", {"config": "/etc/lmcache.yml"}),
            put("cluster/engine/arguments", {"kv-transfer-config.kv_port": 9000}),
        ),
    ),
    (
        "argument-unknown",
        "vllm_cluster.engine.arguments.max-modle-len",
        put("cluster/engine/arguments", {"max-modle-len": 5}),
    ),
    (
        "argument-unknown",
        "vllm_cluster.engine.arguments.trust-remote",
        put("cluster/engine/arguments", {"trust-remote": True}),
    ),
    (
        "environment-owned",
        "vllm_cluster.engine.environment.VLLM_HOST_IP",
        put("cluster/engine/environment", {"VLLM_HOST_IP": "10.20.1.11"}),
    ),
    (
        "env-dev-mode",
        "hosts.engine1.engine.environment.VLLM_SERVER_DEV_MODE",
        put("cluster/engine/environment", {"VLLM_SERVER_DEV_MODE": 1}),
    ),
    (
        "arg-remote-code",
        "hosts.engine1.engine.argv.--trust-remote-code",
        put("cluster/engine/arguments", {"trust_remote_code": True}),
    ),
    (
        "tenant-name-shared",
        "vllm_cluster.tenants[1].name",
        put("cluster/tenants", [{"name": "a", "keys": [{"id": "k1"}]}, {"name": "a", "keys": [{"id": "k2"}]}]),
    ),
    (
        "key-shared",
        "vllm_cluster.tenants[1].keys[0]",
        put(
            "cluster/tenants",
            [
                {"name": "a", "keys": [{"id": "k1", "sha256": "0" * 64}]},
                {"name": "b", "keys": [{"id": "k1", "value": None, "sha256": "0" * 64}]},
            ],
        ),
    ),
    (
        "key-empty",
        "vllm_cluster.tenants[0].keys[0].sha256",
        put("cluster/tenants/0/keys/0/sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ),
    (
        "key-source",
        "vllm_cluster.tenants[0].keys[0]",
        put("cluster/tenants/0/keys/0", {"id": "k1", "file": "/k", "sha256": "0" * 64}),
    ),
    ("key-id-shared", "vllm_cluster.tenants[0].keys", put("cluster/tenants/0/keys", [{"id": "k1"}, {"id": "k1"}])),
    ("bad-value", "vllm_cluster.tenants[0].keys[0].value", put("cluster/tenants/0/keys/0/value", "short")),
    ("bad-value", "vllm_cluster.tenants[0].keys[0].value", put("cluster/tenants/0/keys/0/value", "")),
    ("too-few", "vllm_cluster.tenants[0].keys", put("cluster/tenants/0/keys", [])),
    ("admin-everyone", "vllm_cluster.admin.ssh_from[0]", put("cluster/admin/ssh_from", ["0.0.0.0/0"])),
    ("route-group-unknown", "vllm_cluster.gateway.routes[0]", put("cluster/gateway/routes", ["chats"])),
    (
        "waiver-expired",
        "vllm_cluster.waivers[0].expires",
        put("cluster/waivers", [{"rule": "arg-queue", "reason": "because of a test", "expires": "2026-11-22"}]),
    ),
    *[
        ("bad-value", "vllm_cluster.media.allowed_domains[0]", put("cluster/media/allowed_domains", [name]))
        for name in ("https://example.org", "*.example.org", "example.org:443", "Example.org", "10.0.0.1", "a/b", "")
    ],
    ("wrong-type", "vllm_cluster.media.allowed_domains", put("cluster/media/allowed_domains", "example.org")),
    ("route-not-offered", "vllm_cluster.tenants[0].routes[0]", put("cluster/tenants/0/routes", ["audio"])),
    ("answers-shared", "vllm_cluster.gateway.routes", both(store, put("cluster/tenants", [ACME, OTHER]))),
    (
        "answers-scattered",
        "vllm_cluster.gateway.balancing",
        both(store, put("cluster/topology", "replicas")),
    ),
    (
        "answers-scattered",
        "vllm_cluster.gateway.balancing",
        both(store, put("cluster/engine", {"ranks_per_node": 2, "load_balancing": "hybrid"})),
    ),
    ("monitor-missing", "vllm_cluster.gateway.monitor_port", put("cluster/gateway/monitor_port", 9443)),
    ("missing-key", f"{TLS}.key", put("cluster/gateway/tls", {"certificate": "/c"})),
    ("missing-key", f"{TLS}.acme", put("cluster/gateway/tls", {"issuer": "acme"})),
    ("tls-source", f"{TLS}.certificate", put("cluster/gateway/tls/issuer", "private")),
    ("tls-source", f"{TLS}.acme", put("cluster/gateway/tls/acme", ACME_SERVER)),
    ("bad-value", f"{TLS}.acme.directory", acme(put("cluster/gateway/tls/acme/directory", "http://ca.example/dir"))),
    ("bad-value", f"{TLS}.acme.contact", acme(put("cluster/gateway/tls/acme/contact", "ops"))),
    ("port-collision", f"{TLS}.issuer", acme(put("cluster/gateway/port", 80))),
    (
        "acme-gateways",
        f"{TLS}.issuer",
        acme(put("hosts/gateway2", {"roles": ["gateway"], "node": {"addresses": SECOND_GATEWAY}})),
    ),
    ("client-authority-missing", PROVED, put("cluster/tenants/0/certificate", "CN=acme")),
    ("bad-value", PROVED, put("cluster/tenants/0/certificate", 'CN=acme" "" ; #')),
    (
        "certificate-shared",
        "vllm_cluster.tenants[1].certificate",
        both(
            put("cluster/gateway/tls/client_authority", "/a"),
            put("cluster/tenants", [{**ACME, "certificate": "CN=a"}, {**OTHER, "certificate": "cn=A"}]),
        ),
    ),
    (
        "key-expired",
        "vllm_cluster.tenants[0].keys[0].expires",
        put("cluster/tenants/0/keys/0/expires", "2026-11-23"),
    ),
    (
        "key-expires",
        "vllm_cluster.tenants[0].keys[0].expires",
        put("cluster/tenants/0/keys/0/expires", "2026-11-24"),
    ),
    *[
        ("egress-unsafe", "vllm_cluster.egress[0].to[0]", put("cluster/egress", [{**CALL, "to": [block]}]))
        for block in ("0.0.0.0/0", "::/0", "169.254.169.254/32", "169.0.0.0/8", "fd00:ec2::254/128", "127.0.0.1/32")
    ],
    ("egress-unsafe", "vllm_cluster.media.proxy.address", put("cluster/media/proxy", {"address": "::1", "port": 80})),
    ("egress-name-shared", "vllm_cluster.egress", put("cluster/egress", [CALL, {**CALL, "port": 4318}])),
    ("media-unresolved", "vllm_cluster.media.resolvers", put("cluster/media/allowed_domains", ["media.example.org"])),
    ("network-undeclared", "hosts.engine1.vllm_node.addresses.edge[0]", no_edge),
    (
        "address-family",
        "hosts.engine1.vllm_node.addresses.fabric",
        addresses("engine1", "fabric", ["fd20:1::11"]),
    ),
    ("not-in-release", "hosts.engine1.engine.argv.--max-num-queued-tokens", old_release),
    ("protection-missing", "vllm_cluster.release", put("cluster/release", "0.22.1")),
    ("address-not-on-host", "hosts.engine1.vllm_node.addresses.fabric", probed({"addresses": {"fd20:1::11": "eth1"}})),
    (
        "addresses-apart",
        "hosts.engine1.vllm_node.addresses.fabric",
        probed({"addresses": {"10.20.1.11": "eth1", "fd20:1::11": "eth2"}}),
    ),
    (
        "interface-mismatch",
        "hosts.engine1.vllm_node.interfaces.fabric",
        probed({"addresses": {"10.20.1.11": "eth7", "fd20:1::11": "eth7"}}),
    ),
    (
        "name-is-loopback",
        "hosts.engine1",
        probed({**SOUND, "name_resolution": {"addresses": ["127.0.1.1"], "loopback": True}}),
    ),
    ("rdma-unfiltered", "hosts.engine1", probed({**SOUND, "rdma_devices": [{"name": "mlx5_0"}]})),
    (
        "rdma-unfiltered",
        "hosts.engine1",
        both(
            put("cluster/networks/fabric/rdma_isolated_by", "partition 0x8001 of the subnet manager"),
            probed({**SOUND, "rdma_devices": [{"name": "mlx5_1"}, {"name": "mlx5_0"}]}),
        ),
    ),
    (
        "firewall-before",
        "hosts.engine1",
        probed({**SOUND, "nftables": [{"family": "ip", "name": "mesh", "own": False, "hooks": [EARLY, IN_TIME]}]}),
    ),
    ("firewall-bypassed", "hosts.engine1", probed({**SOUND, "firewalls": {"cilium": ["process cilium-agent"]}})),
    ("firewall-cuts", "hosts.engine1", probed({**SOUND, "firewalls": {"kube-proxy": ["process kubelet"]}})),
    (
        "firewall-beside",
        "hosts.engine1",
        probed({**SOUND, "firewalls": {"ufw": ["/etc/ufw/ufw.conf says ENABLED=yes"]}}),
    ),
    (
        "port-taken",
        "hosts.engine1.listeners.api",
        probed({**SOUND, "listeners": [{"protocol": "tcp", "port": 8000, "processes": [{"pid": 7, "name": "java"}]}]}),
    ),
    ("name-unresolved", "vllm_cluster.install.index_url", probed({**SOUND, "names": {"packages.example.org": []}})),
    (
        "accelerators-few",
        "hosts.engine1",
        both(put("cluster/engine", {"devices": ["char-nvidia*"], "ranks_per_node": 4}), probed({**SOUND, **CARDS})),
    ),
    (
        "heads-uneven",
        "hosts.engine1.engine.argv.--tensor-parallel-size",
        both(put("cluster/topology", "tensor_parallel"), sized(attention_heads=15)),
    ),
    (
        "layers-few",
        "hosts.engine1.engine.argv.--pipeline-parallel-size",
        both(put("cluster/topology", "pipeline_parallel"), sized(layers=1)),
    ),
    (
        "balancing-dense",
        "hosts.engine1.engine.argv.--data-parallel-rank",
        both(put("cluster/engine", {"load_balancing": "external"}), sized(experts=None)),
    ),
]
SENTENCES: dict[str, list[str]] = yaml.safe_load(Path(__file__).with_name("sentences.yml").read_text(encoding="utf-8"))


def found(cluster: Any, hosts: Any, today: Any, rule: str, path: str) -> list[str]:
    problems = validate(cluster, hosts, today)
    return [problem.sentence() for problem in problems if (problem.rule, problem.path) == (rule, path)]


def numbered(mistakes: list[tuple[str, str, Mistake]]) -> list[tuple[str, str, Mistake, int]]:
    """The mistakes of one rule and path are told apart by their order."""
    seen: dict[tuple[str, str], int] = {}
    rows = []
    for rule, path, mistake in mistakes:
        number = seen.get((rule, path), 0)
        seen[rule, path] = number + 1
        rows.append((rule, path, mistake, number))
    return rows


@pytest.mark.parametrize(("rule", "path", "mistake", "number"), numbered(MISTAKES), ids=lambda value: str(value)[:60])
def test_each_mistake_is_said_in_full(
    rule: str, path: str, mistake: Mistake, number: int, cluster: Any, hosts: Any, today: Any
) -> None:
    assert found(cluster, hosts, today, rule, path) == [], "the sound declaration must not have it"
    mistake(cluster, hosts)
    assert found(cluster, hosts, today, rule, path) == [SENTENCES[f"{rule} {path}"][number]]


def rules_in_the_source() -> set[str]:
    """The second argument of every Problem that validation and planning make."""
    rules = set()
    for folder in ("declaration", "planning"):
        for file in (SOURCE / folder).glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Problem":
                    words = [part.value for part in ast.walk(node.args[1]) if isinstance(part, ast.Constant)]
                    rules |= {word for word in words if isinstance(word, str)}
    return rules


def test_every_rule_has_a_sentence_that_is_tested() -> None:
    tested = {rule for rule, _path, _mistake in MISTAKES}
    tested |= {re.findall(r"\[([a-z-]+)\]", sentence)[0] for _name, _changes, sentence in TOPOLOGY_MISTAKES}
    tested |= {"listener-collision"}  # test_plan_properties.py
    assert rules_in_the_source() - tested == set()
    assert {"unknown-key", "ray-unsafe", "heads-uneven"} <= rules_in_the_source()


@given(st.randoms())
@settings(max_examples=30, deadline=None)
def test_the_order_of_hosts_does_not_change_what_is_said(random: Any) -> None:
    cluster, hosts = declaration("data parallel, internal")
    cluster["modle"] = 1
    for host in hosts.values():
        host["node"]["addresses"]["fabric"] = ["10.20.0.12"]
    order = list(hosts)
    random.shuffle(order)
    assert validate(cluster, {name: hosts[name] for name in order}, TODAY) == validate(cluster, hosts, TODAY)


def test_all_mistakes_are_named_together_and_in_order(cluster: Any, hosts: Any, today: Any) -> None:
    cluster["modle"] = 1
    cluster["engine"] = {"port": "8000", "arguments": {"host": "::"}}
    cluster["tenants"][0]["keys"][0]["value"] = "too-short"
    hosts["engine1"]["node"]["addresses"]["fabric"] = ["0.0.0.0"]
    hosts["engine2"]["node"]["addresses"]["fabric"] = ["10.20.1.200"]
    found = errors(cluster, hosts, today)
    assert [rule for rule, _path in found] == [
        "address-wildcard",
        "address-shared",
        "argument-owned",
        "wrong-type",
        "unknown-key",
        "bad-value",
    ]
    assert [path for _rule, path in found] == sorted(path for _rule, path in found)


def test_an_option_of_a_section_that_is_not_declared_may_be_passed(cluster: Any, hosts: Any, today: Any) -> None:
    cluster["engine"] = {"arguments": {"kv-transfer-config": '{"kv_connector": "OffloadingConnector"}'}}
    assert errors(cluster, hosts, today) == []


def test_a_waiver_acknowledges_another_firewall(cluster: Any, hosts: Any, today: Any) -> None:
    probed({**SOUND, "firewalls": {"kube-proxy": ["process kubelet"], "docker": ["interface docker0"]}})(cluster, hosts)
    assert errors(cluster, hosts, today) == [("firewall-cuts", "hosts.engine1")]
    reason = "its ports are open to the nodes of the Kubernetes cluster"
    cluster["waivers"] = [{"rule": "firewall-cuts", "reason": reason, "expires": "2027-02-28"}]
    assert errors(cluster, hosts, today) == []


def test_a_message_says_what_where_and_how(cluster: Any, hosts: Any, today: Any) -> None:
    cluster["topolgy"] = cluster.pop("topology")
    messages = [problem.sentence() for problem in validate(cluster, hosts, today)]
    assert messages == [
        "error [unknown-key] vllm_cluster.topolgy: found the key 'topolgy'; expected a key of vllm_cluster. "
        "Did you mean 'topology'?",
        "error [missing-key] vllm_cluster.topology: found nothing; expected one of replicas, tensor_parallel, "
        "pipeline_parallel, data_parallel. Set vllm_cluster.topology: How the nodes of an engine share its work. "
        "replicas: each node serves alone; tensor_parallel: every layer is split over the nodes; pipeline_parallel: each "
        "node has some of the layers; data_parallel: each node has the whole model.",
    ]


def test_a_secret_is_never_part_of_a_message(cluster: Any, hosts: Any, today: Any) -> None:
    cluster["tenants"][0]["keys"][0]["value"] = "hunter2 is my key"
    cluster["tenants"].append({"name": "other", "keys": [{"id": "k1", "value": 12345}]})
    text = "\n".join(problem.sentence() for problem in validate(cluster, hosts, today))
    assert "hunter2" not in text
    assert "12345" not in text
    assert "17 characters (not shown)" in text


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        [],
        "text",
        7,
        {},
        {"networks": []},
        {"networks": {"fabric": None}},
        {"engine": 5, "tenants": [None], "admin": [], "gateway": "x", "waivers": [1]},
    ],
)
def test_nonsense_is_a_finding_not_a_traceback(nonsense: Any, hosts: Any, today: Any) -> None:
    assert errors(nonsense, hosts, today)
    assert errors(nonsense, {"engine1": {"roles": ["engine"], "node": 3}}, today)


def test_a_waiver_silences_its_rule_only(cluster: Any, hosts: Any, today: Any) -> None:
    cluster["engine"] = {"arguments": {"trust-remote-code": True, "enable-prompt-embeds": True}}
    cluster["waivers"] = [{"rule": "arg-remote-code", "reason": "audited model code", "expires": "2026-11-23"}]
    rules = {rule for rule, _path in errors(cluster, hosts, today)}
    assert rules == {"arg-embeds"}


def test_a_probe_that_contradicts_is_found(cluster: Any, hosts: Any, today: Any) -> None:
    hosts["engine1"]["probe"] = {"addresses": {"10.20.1.11": "eth7", "10.20.2.11": "eth0"}}
    found = errors(cluster, hosts, today)
    assert ("interface-mismatch", "hosts.engine1.vllm_node.interfaces.fabric") in found
    assert ("address-not-on-host", "hosts.engine1.vllm_node.addresses.fabric") in found


def test_what_a_release_does_not_have_is_refused(cluster: Any, hosts: Any, today: Any) -> None:
    """An unknown variable ends vLLM at its start (--fail-on-environ-validation), an unknown option at its parser."""
    cluster["engine"] = {"environment": {"VLLM_MAX_N_SEQUENCE": 64}}
    assert ("not-in-release", "hosts.engine1.engine.environment.VLLM_MAX_N_SEQUENCE") in errors(cluster, hosts, today)
    cluster["engine"] = {"arguments": {"max-num-queued-tokens": 1000}}
    cluster["release"] = "0.12.0"
    assert ("not-in-release", "hosts.engine1.engine.argv.--max-num-queued-tokens") in errors(cluster, hosts, today)


def test_a_protection_a_release_does_not_have_is_left_out_with_a_warning(cluster: Any, hosts: Any, today: Any) -> None:
    cluster["release"] = "0.22.1"
    found = [problem.sentence() for problem in validate(cluster, hosts, today) if problem.rule == "protection-missing"]
    assert found == [
        "warning [protection-missing] vllm_cluster.release: found 0.22.1, which has no --max-num-queued-reqs; expected a "
        "release that has it, because without it the queue of requests has no end. Upgrade; the plan leaves it out until then."
    ]


def test_what_is_passed_through_is_linted_although_the_declaration_has_errors(
    cluster: Any, hosts: Any, today: Any
) -> None:
    cluster["topolgy"] = cluster.pop("topology")
    cluster["engine"] = {
        "arguments": {"trust_remote_code": True, "max-logprobs": -1, "port": 9000, "no-such-option": 1},
        "environment": {"VLLM_SERVER_DEV_MODE": "1", "VLLM_HOST_IP": "0.0.0.0", "HF_TOKEN": "hf_mJ8sQ2xK4tB7nR1vW5yZ"},
    }
    found = validate(cluster, hosts, today)
    assert [(problem.rule, problem.path.removeprefix("vllm_cluster.")) for problem in found] == [
        ("arg-logprobs", "engine.arguments.max-logprobs"),
        ("argument-unknown", "engine.arguments.no-such-option"),
        ("argument-owned", "engine.arguments.port"),
        ("arg-remote-code", "engine.arguments.trust-remote-code"),
        ("env-secret", "engine.environment.HF_TOKEN"),
        ("environment-owned", "engine.environment.VLLM_HOST_IP"),
        ("env-dev-mode", "engine.environment.VLLM_SERVER_DEV_MODE"),
        ("unknown-key", "topolgy"),
        ("missing-key", "topology"),
    ]
    assert "hf_mJ8sQ2xK4tB7nR1vW5yZ" not in str(found)
    assert found[3].sentence() == (
        "error [arg-remote-code] vllm_cluster.engine.arguments.trust-remote-code: found --trust-remote-code; expected "
        "another value, because the model's repository runs code. Remove it."
    )


def test_lint_says_the_same_in_both_runs(cluster: Any, hosts: Any, today: Any) -> None:
    cluster["engine"] = {"arguments": {"trust-remote-code": True}, "environment": {"VLLM_SERVER_DEV_MODE": True}}
    cluster["waivers"] = [
        {"rule": "env-dev-mode", "reason": "because of a test", "expires": "2026-12-31"},
    ]
    whole = {problem.rule for problem in validate(cluster, hosts, today)}
    del cluster["topology"]
    part = {problem.rule for problem in validate(cluster, hosts, today)}
    assert whole == {"arg-remote-code", "release-old"}
    assert part == {"arg-remote-code", "missing-key"}


@pytest.mark.parametrize(
    "engine",
    [7, [], {"arguments": []}, {"arguments": {"x": {}}, "environment": None}, {"environment": {"A B": "1"}}, {1: 2}],
)
def test_what_cannot_be_read_is_not_linted(engine: Any, cluster: Any, hosts: Any, today: Any) -> None:
    cluster["engine"] = engine
    del cluster["topology"]
    assert {problem.rule for problem in validate(cluster, hosts, today)} <= {
        *("wrong-type", "missing-key", "bad-value", "unknown-key", "argument-unknown"),
    }
