# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every safe default of a planned engine, loosened by name: said with an id until it is waived, or refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan, validate
from ansible_collections.hardened.vllm.plugins.plugin_utils.planning.engine import SAFE_ENVIRONMENT, SAFE_OPTIONS

from ..conftest import CLUSTER, TODAY, engine

# Name, what a user might set instead, and the rule that says so.
OPTIONS: dict[str, tuple[tuple[Any, str], ...]] = {
    "allowed-origins": (('["*"]', "arg-origins"),),
    "fingerprint-mode": (("full", "arg-fingerprint"), ("hash", "arg-fingerprint")),
    "load-format": tuple((value, "arg-load-format") for value in ("auto", "hf", "pt", "dummy", "sharded_state")),
    "shutdown-timeout": ((0, "arg-shutdown"),),
}
ENVIRONMENT: dict[str, tuple[tuple[Any, str], ...]] = {
    "DO_NOT_TRACK": (("0", "env-usage-stats"),),
    "HF_HUB_DISABLE_TELEMETRY": (("0", "env-hub-telemetry"),),
    "HF_HUB_OFFLINE": (("0", "env-hub-online"), (False, "env-hub-online")),
    "TRANSFORMERS_OFFLINE": (("0", "env-hub-online"),),
    "VLLM_DO_NOT_TRACK": (("0", "env-usage-stats"),),
    # The plan owns it: it cannot be loosened by name, and the plan stays as it is.
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": (("1", "environment-owned"),),
    "VLLM_NO_USAGE_STATS": (("0", "env-usage-stats"), ("", "env-usage-stats")),
    "VLLM_PLUGINS": (("evil", "env-plugins"), (["one", "two"], "env-plugins")),
}
CASES = [
    pytest.param(part, name, value, rule, id=f"{name}={value}")
    for part, table in (("arguments", OPTIONS), ("environment", ENVIRONMENT))
    for name, cases in table.items()
    for value, rule in cases
]


def said(part: str, chosen: dict[str, Any], waivers: list[dict[str, str]]) -> set[str]:
    cluster = {**copy.deepcopy(CLUSTER), "topology": "replicas", "engine": {part: chosen}, "waivers": waivers}
    gateway = {"fabric": ["10.20.1.200", "fd20:1::200"], "management": ["10.20.2.200"], "edge": ["192.0.2.200"]}
    hosts = {"engine1": engine(11), "gateway1": {"roles": ["gateway"], "node": {"addresses": gateway}}}
    found = validate(cluster, hosts, TODAY)
    if all(problem.severity.name != "ERROR" for problem in found):
        made = plan(cluster, hosts, TODAY)
        assert {warning["rule"] for warning in made["warnings"]} == {problem.rule for problem in found}
    return {problem.rule for problem in found}


def test_every_safe_default_has_a_way_to_loosen_it_here() -> None:
    assert OPTIONS.keys() == SAFE_OPTIONS.keys()
    assert ENVIRONMENT.keys() == SAFE_ENVIRONMENT.keys()


@pytest.mark.parametrize(("part", "name", "value", "rule"), CASES)
def test_a_loosened_default_is_said_until_it_is_waived(part: str, name: str, value: Any, rule: str) -> None:
    assert rule not in said(part, {}, []), "as planned nothing is said"
    assert rule in said(part, {name: value}, [])
    if rule == "environment-owned":
        return
    waiver = {"rule": rule, "reason": "It is accepted in this test.", "expires": "2027-01-31"}
    assert rule not in said(part, {name: value}, [waiver])
