# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nothing is in the catalogue that nobody judged."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue import history, judgement

DANGERS = {
    "code execution",
    "control",
    "denial of service",
    "exposure",
    "information",
    "integrity",
    "keyless inference",
    "model replacement",
    "request forgery",
    "secret",
    "telemetry",
}
OF_ROUTES = {"health", "inference", "keyless processing", "other tenants' answers", "processing"}


def test_everything_any_release_has_is_judged() -> None:
    assert judgement.unjudged() == ()


def test_no_judgement_is_idle_or_made_twice() -> None:
    assert judgement.stale() == ()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("routes", "POST /v1/new"),
        ("variables", "VLLM_NEW_HOLE"),
        ("flags", "new-hole"),
        ("fields", "KVTransferConfig.kv_new"),
        ("connectors", "kv:NewConnector"),
        ("extra_keys", "nixl:new_port"),
        ("servers", "vllm/new.py GET /x"),
    ],
)
def test_what_a_new_release_brings_is_noticed(monkeypatch: pytest.MonkeyPatch, kind: str, name: str) -> None:
    known = history.names
    monkeypatch.setattr(judgement, "names", lambda asked: known(asked) | ({name} if asked == kind else set()))
    assert judgement.unjudged() == (f"{kind} {name}",)


def test_a_judgement_of_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgement, "names", lambda kind: history.names(kind) - {"VLLM_SERVER_DEV_MODE", "GET /health"})
    assert judgement.stale() == (
        "routes GET /health: nothing has this name",
        "variables VLLM_SERVER_DEV_MODE: nothing has this name",
    )


def test_judgements_use_the_known_words() -> None:
    entries: list[Any] = [entry for kind in judgement.IN_JUDGED for entry in judgement.judgements(kind)]
    for entry in entries:
        assert entry.danger in DANGERS, entry
        assert entry.severity in ("error", "warning", "info"), entry
        assert entry.source in ("observed", "read"), entry
        assert entry.why, entry
        assert entry.safe, entry
    for route in (route for release in catalogue.releases() for route in catalogue.routes(release)):
        assert route.danger in DANGERS | OF_ROUTES, route
        assert route.severity in ("error", "warning", "info"), route
        assert route.audience in ("user", "user_if_asked", "monitor", "never"), route
        assert route.source in ("observed", "read"), route
        assert route.why, route


def test_nothing_with_a_rule_counts_as_harmless() -> None:
    rules = [("variables", rule.name) for rule in catalogue.variable_rules()]
    rules += [("flags", rule.name) for rule in catalogue.option_rules()]
    for kind, name in rules:
        assert judgement.reason(kind, name) is None, f"{kind} {name} has a lint rule"


@pytest.mark.parametrize(
    "verb", ["", "USE_", "MAX_", "ALLOW_", "ENABLE_", "DISABLE_", "SKIP_", "MEDIA_", "DEBUG_", "TEST_"]
)
def test_no_family_of_harmless_names_is_wide(verb: str) -> None:
    assert judgement.reason("variables", f"VLLM_{verb}SOMETHING_NEW") is None
    assert judgement.reason("flags", f"{verb.lower().replace('_', '-')}something-new") is None


def test_dangerous_routes_are_nobody_s() -> None:
    for route in catalogue.routes():
        if route.danger in (
            "code execution",
            "model replacement",
            "control",
            "keyless inference",
        ):
            assert route.audience == "never", route
        if route.danger == "other tenants' answers":
            # A group that validation gives to one tenant alone.
            assert (route.audience, route.group) == ("user_if_asked", "responses-store"), route
        if not route.guarded:
            assert not route.audience.startswith("user"), route
