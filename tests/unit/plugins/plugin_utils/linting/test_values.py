# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every row of the tables of values can be made to speak, and is silent without its value."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue.history import presence
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.conditions import CONDITIONS, bypasses_key, wildcard
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.lint import judge, lint
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.rules import (
    ValueRule,
    field_rules,
    option_rules,
    value_rules,
    variable_rules,
)
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.texts import Process, Text
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.traits import TRAITS

TRAIT_WORDS: dict[str, list[str]] = {
    "client-ca": ["--ssl-ca-certs", "/ca"],
    "credentials": ["--allow-credentials"],
    "exposed": ["--host", "0.0.0.0"],
    "logs-outputs": ["--enable-log-outputs"],
    "logs-requests": ["--enable-log-requests"],
    "multinode": ["--nnodes", "2"],
    "nixl": ["--kv-transfer-config", '{"kv_connector": "NixlConnector"}'],
    "nnodes": ["--nnodes", "2"],
    "remote-code": ["--trust-remote-code"],
}
BAD_VALUES: dict[str, str] = {
    "wildcard": "0.0.0.0",
    "loopback": "127.0.0.1",
    "public": "8.8.8.8",
    "on": "1",
    "off": "0",
    "set": "x",
    "not": "other",
    "not_one_of": "other",
    "given": "x",
    "empty": "",
    "bypass": "/",
    "star": '["*"]',
    "shared": "/tmp/x",  # noqa: S108 - what the rule looks for
    "inexact": "eth1",
    "scheme": "tcp://10.0.0.1:1",
    "not_hosts": "https://a.example",
    "not_commit": "main",
    "literal": "x",
}


def bad_value(rule: ValueRule) -> str:
    if rule.condition == "above":
        return str(rule.value + 1)
    if rule.condition == "below":
        return str(rule.value - 1)
    if rule.condition in ("one_of", "word"):
        return str(rule.value[0])
    return BAD_VALUES[rule.condition]


def release_of(rule: ValueRule) -> str:
    """A release the rule speaks about and that has the name."""
    kind = "variables" if rule in variable_rules() else "flags"
    name = rule.name.split(".")[0]
    lives = presence(kind, name)
    for release in reversed(catalogue.releases()):
        known = not lives or any(
            catalogue.releases().index(since) <= catalogue.releases().index(release)
            and (until is None or catalogue.releases().index(release) < catalogue.releases().index(until))
            for since, until in lives
        )
        if known and rule.applies(rule.when, judge_version(release)):
            return release
    raise AssertionError(f"no release for {rule}")


def judge_version(release: str) -> Any:
    from packaging.version import Version

    return Version(release)


def process_for(rule: ValueRule, words: list[str], environment: dict[str, str]) -> Process:
    model = "example/model" if "hub-model" in rule.when else "/m"
    traits = [word for trait in sorted(rule.when) for word in TRAIT_WORDS.get(trait, [])]
    given = {name: Text(value) for name, value in environment.items()}
    if "hub-token" in rule.when:
        given["HF_TOKEN"] = Text("", known=False, literal=False)
    network = "container" if "own-network" in rule.when else "host"
    return Process(
        "",
        Text(""),
        [Text(word) for word in [model, *traits, *words]],
        given,
        network=network,
    )


def speaks(rule: ValueRule, words: list[str], environment: dict[str, str]) -> bool:
    findings = judge(process_for(rule, words, environment), release=release_of(rule))
    return any(
        finding.rule == rule.rule
        and finding.place.rpartition("-" if finding.place.startswith("argv") else "environment.")[2]
        and rule.name in finding.place
        and finding.severity >= rule.severity
        and (finding.found == "nothing") == (rule.condition == "missing")
        for finding in findings
    )


@pytest.mark.parametrize("rule", variable_rules(), ids=lambda rule: f"{rule.name}-{rule.condition}")
def test_every_rule_for_variables_speaks_and_is_silent(rule: ValueRule) -> None:
    if rule.condition == "missing":
        assert speaks(rule, [], {})
        assert not speaks(rule, [], {rule.name: "1"})
    else:
        assert speaks(rule, [], {rule.name: bad_value(rule)})
        assert not speaks(rule, [], {})


@pytest.mark.parametrize("rule", option_rules(), ids=lambda rule: f"{rule.name}-{rule.condition}")
def test_every_rule_for_options_speaks_and_is_silent(rule: ValueRule) -> None:
    given = [f"--{rule.name}"] if catalogue.options()[rule.name].switch else [f"--{rule.name}", "x"]
    if rule.condition == "missing":
        assert speaks(rule, [], {})
        assert not speaks(rule, given, {})
    else:
        switch = catalogue.options()[rule.name].switch
        assert speaks(rule, given if switch else [f"--{rule.name}", bad_value(rule)], {})
        assert not speaks(rule, [], {})


@pytest.mark.parametrize("rule", field_rules(), ids=lambda rule: f"{rule.name}-{rule.condition}")
def test_every_rule_for_fields_speaks_and_is_silent(rule: ValueRule) -> None:
    assert speaks(rule, [f"--{rule.name}", bad_value(rule)], {})
    assert not speaks(rule, [f"--{rule.name.split('.')[0]}.engine_id", "x"], {})


def test_the_tables_use_only_what_there_is() -> None:
    for rule in value_rules():
        assert rule.condition == "missing" or rule.condition in CONDITIONS, rule
        assert rule.when | rule.unless <= TRAITS, rule
        assert rule.why
        assert rule.remedy.endswith(".")
    used = {rule.condition for rule in value_rules()} - {"missing"}
    assert used == set(CONDITIONS)


def test_secrets_are_never_shown() -> None:
    argv = ["serve", "--api-key", "sk-secret-1", "--hf-token=hf-secret", "m", "--trust-remote-code=hf-secret"]
    text = str(lint([*argv, "hf-secret"], {"HF_TOKEN": "hf-secret", "VLLM_API_KEY": "hf-secret"}))
    assert "secret-1" not in text
    assert "hf-secret" not in text


def test_a_headless_node_needs_no_host() -> None:
    rules = {problem.rule for problem in lint(["serve", "/m", "--headless"], {})}
    assert not rules & {"arg-host", "arg-docs"}
    assert "arg-host" in {problem.rule for problem in lint(["serve", "/m"], {})}


def test_a_negated_switch_is_off() -> None:
    rules = {problem.rule for problem in lint(["serve", "/m", "--no-trust-remote-code", "--no-disable-fastapi"], {})}
    assert "arg-remote-code" not in rules
    assert "arg-docs" in rules


@pytest.mark.parametrize(
    "root", ["/", "/v", "/v1/", "/v2/", "/v1/c", "/v1/m", "/i", "/inference/", "/c", "/coh", "x", ""]
)
def test_root_paths_that_switch_the_key_off(root: str) -> None:
    assert bypasses_key(root, catalogue.guarded_prefixes("0.32.0"))


@pytest.mark.parametrize("root", ["/vllm", "/api", "/llm/chat"])
def test_root_paths_that_do_not(root: str) -> None:
    assert not bypasses_key(root, catalogue.guarded_prefixes("0.32.0"))


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "[::]", "*", "", "tcp://*:5557", "tcp://0.0.0.0:1", "0.0.0.0:80"])
def test_addresses_that_mean_every_interface(address: str) -> None:
    assert wildcard(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "10.0.0.1", "tcp://10.0.0.1:5557", "::1", "eth0"])
def test_addresses_that_do_not(address: str) -> None:
    assert not wildcard(address)
