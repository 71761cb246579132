# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every mistake is refused with its rule, its place and a remedy; a sound declaration is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import validate
from ansible_collections.hardened.vllm.plugins.plugin_utils.problems import Severity

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
]


@pytest.mark.parametrize(("rule", "path", "mistake"), MISTAKES, ids=lambda value: str(value)[:60])
def test_each_mistake_is_found(rule: str, path: str, mistake: Mistake, cluster: Any, hosts: Any, today: Any) -> None:
    mistake(cluster, hosts)
    assert (rule, path) in errors(cluster, hosts, today)


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
