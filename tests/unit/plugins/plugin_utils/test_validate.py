# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every mistake is refused with its rule, its place and a remedy; a sound declaration is not."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import validate
from ansible_collections.hardened.vllm.plugins.plugin_utils.problems import Severity
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mistakes import SOUND, probed
from support.topologies import declaration

from .conftest import TODAY
from .test_mistakes_access import MISTAKES as ACCESS
from .test_mistakes_declared import MISTAKES as DECLARED
from .test_mistakes_hosts import MISTAKES as HOSTS
from .test_mistakes_tls import MISTAKES as TLS
from .test_topology_rules import MISTAKES as TOPOLOGY_MISTAKES

SOURCE = Path(__file__).resolve().parents[4] / "plugins" / "plugin_utils"


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
    tested = {rule for rule, _path, _mistake in (*ACCESS, *DECLARED, *HOSTS, *TLS)}
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
    cluster["waivers"] = [{"rule": "firewall-cuts", "reason": reason, "owner": "tests", "expires": "2027-02-28"}]
    assert errors(cluster, hosts, today) == []


def test_a_day_without_quotes_is_one(cluster: Any, hosts: Any, today: Any) -> None:
    waiver = {"rule": "firewall-cuts", "reason": "because of a test", "owner": "tests"}
    cluster["waivers"] = [{**waiver, "expires": yaml.safe_load("2027-02-28")}]
    assert errors(cluster, hosts, today) == []
    cluster["waivers"] = [{**waiver, "expires": yaml.safe_load("2027-02-28 10:00:00")}]
    assert errors(cluster, hosts, today) == [("wrong-type", "vllm_cluster.waivers[0].expires")]


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
    cluster["waivers"] = [
        {"rule": "arg-remote-code", "reason": "audited model code", "owner": "tests", "expires": "2026-11-23"}
    ]
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
        ("secret-written", "engine.environment.HF_TOKEN"),
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
        {"rule": "env-dev-mode", "reason": "because of a test", "owner": "tests", "expires": "2026-12-31"},
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
