# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers nobody planned: their TLS, headers and origins are judged, and what passes a proxy in disguise is found."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit import requests
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import judged
from support import audit

ADDRESS = "198.51.100.7"
PLAN = audit.plan()
GOOD: dict[str, Any] = audit.evidence(PLAN)["routes"][0]["endpoints"][0]
PLAIN: dict[str, Any] = {"tls": False, "certificate": None, "speaks": {"plain": True}}


def findings(
    control: str,
    endpoint: dict[str, Any] | None = None,
    answers: list[dict[str, Any]] | None = None,
    standing: str = "observer",
) -> list[tuple[str, str, str]]:
    """Place, what was found and severity of the findings of ``control`` about a server at port 8443."""
    given = {**GOOD, "host": "found", "address": ADDRESS, "port": 8443, **(endpoint or {})}
    seen = {"format": 1, "kind": "routes", "observer": "o", "standing": standing, "taken": audit.TAKEN, "seconds": 1.0}
    asked = answers if answers is not None else [answer()]
    row = audit.row("found", ADDRESS, [8443])
    reach = {**seen, "kind": "reach", "sources": ["192.0.2.7"], "reached": [row], "unknown": []}
    evidence: dict[str, Any] = {"format": 1, "taken": audit.TAKEN, "hosts": {}, "reach": [reach], "missing": []}
    evidence["routes"] = [{**seen, "endpoints": [given], "answers": asked, "unknown": []}]
    result = judged(evidence, {}, [], {}, audit.TODAY)
    (outcome,) = (one["outcome"] for one in result["outcomes"] if one["control"] == control)
    found = [(one["place"], one["found"], one["severity"]) for one in result["findings"] if one["control"] == control]
    assert (outcome == "failed") == bool(found)
    return found


def answer(method: str = "GET", path: str = "/v1/models", **changes: Any) -> dict[str, Any]:
    return audit.answer("found", ADDRESS, 8443, method, path, **changes)


HERE = f"{ADDRESS} port 8443"


@pytest.mark.parametrize(
    ("endpoint", "wanted"),
    [
        ({}, []),
        (PLAIN, [(f"TLS at {HERE}", "plain HTTP", "error")]),
        (
            {"speaks": {**GOOD["speaks"], "TLSv1": True, "TLSv1.1": True}},
            [(f"protocols at {HERE}", "TLSv1, TLSv1.1", "error")],
        ),
        (
            {"certificate": {**GOOD["certificate"], "not_after": "2026-11-20T00:00:00Z"}},
            [(f"end of the certificate at {HERE}", "it ended on 2026-11-20", "error")],
        ),
        (
            {"certificate": {**GOOD["certificate"], "not_after": "2026-12-01T00:00:00Z"}},
            [(f"end of the certificate at {HERE}", "it ends on 2026-12-01", "warning")],
        ),
        (
            {"certificate": {**GOOD["certificate"], "trusted": False, "distrust": "self-signed certificate"}},
            [(f"issuer of the certificate at {HERE}", "self-signed certificate", "warning")],
        ),
        # Nobody said what it is called.
        ({"certificate": {**GOOD["certificate"], "matches": False}}, []),
    ],
)
def test_tls_of_servers_nobody_planned(endpoint: dict[str, Any], wanted: list[tuple[str, str, str]]) -> None:
    assert findings("OUT-05", endpoint) == wanted


def test_a_plain_server_that_leads_to_https_is_none() -> None:
    leads = {"status": 301, "headers": {"location": f"https://{ADDRESS}/v1/models"}}
    assert findings("OUT-05", PLAIN, [answer(**leads)]) == []
    assert findings("OUT-05", PLAIN, [answer(**leads), answer(path="/metrics", status=404)]) != []
    assert findings("OUT-05", PLAIN, [answer(status=301, headers={"location": "http://x/"})]) != []


def test_what_speaks_neither_is_not_judged() -> None:
    silent = {**PLAIN, "speaks": {"plain": False}, "error": "no answer"}
    for control in ("OUT-05", "OUT-06", "OUT-07"):
        assert findings(control, silent, []) == []


def test_headers_of_servers_nobody_planned() -> None:
    assert findings("OUT-06") == []
    bare = {"server": "nginx/1.26.3", "x-powered-by": "Express"}
    assert findings("OUT-06", answers=[answer(headers=bare)]) == [
        (f"header server at {HERE}", "'nginx/1.26.3'", "warning"),
        (f"header strict-transport-security at {HERE}", "none", "warning"),
        (f"header x-content-type-options at {HERE}", "None", "warning"),
        (f"header x-powered-by at {HERE}", "'Express'", "warning"),
    ]
    # Browsers believe it over TLS only.
    nosniff = {"x-content-type-options": "nosniff", "server": "nginx"}
    assert findings("OUT-06", PLAIN, [answer(headers=nosniff)]) == []


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, []),
        ({"access-control-allow-origin": "https://chat.example.org"}, []),
        (
            {"access-control-allow-origin": "*"},
            [(f"origins at {HERE}", "access-control-allow-origin: *", "warning")],
        ),
        (
            {"access-control-allow-origin": requests.ORIGIN, "access-control-allow-credentials": "true"},
            [(f"origins at {HERE}", f"access-control-allow-origin: {requests.ORIGIN}, with credentials", "error")],
        ),
    ],
)
def test_origins_of_servers_nobody_planned(headers: dict[str, str], wanted: list[tuple[str, str, str]]) -> None:
    asked = [one for one in requests.open_requests("0.32.0") if "Origin" in one.get("headers", {})]
    assert {one["headers"]["Origin"] for one in asked} == {requests.ORIGIN}
    given = [answer(path=one["path"], form=one["form"], headers={**audit.HEADERS, **headers}) for one in asked]
    assert findings("OUT-07", answers=given) == wanted


def test_a_server_nobody_asked_as_a_page_is_not_checked() -> None:
    seen = audit.evidence(PLAN)
    seen["routes"][0]["answers"] = [one for one in seen["routes"][0]["answers"] if one["form"] != "foreign origin"]
    result = judged(seen, {"chat": PLAN}, [], {}, audit.TODAY)
    states = {one["host"]: one["outcome"] for one in result["outcomes"] if one["control"] == "OUT-07"}
    assert states == {"gateway1": "not checked", "engine11": "not applicable", "engine12": "not applicable"}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"status": 200, "body": "json"}, True),
        ({"status": 400, "body": "error"}, True),
        ({"status": 422, "body": "detail"}, True),
        ({"status": 400, "body": "html"}, False),  # a proxy that does not like how it is written
        ({"status": 404, "body": "detail"}, False),
        ({"status": 307, "body": "empty"}, False),
    ],
)
def test_what_passes_a_proxy_in_disguise_is_found(changes: dict[str, Any], wanted: bool) -> None:
    hidden = answer("POST", "/invocations", status=403, body="html")
    disguised = answer("POST", "/invocations", target="//invocations", form="doubled slash", **changes)
    found = findings("OUT-02", answers=[hidden, disguised])
    assert [place for place, _found, _severity in found] == [f"POST /invocations at {HERE}"] * wanted


def test_a_disguise_that_is_another_route_is_not_the_one_it_looks_like() -> None:
    odd = {"target": "/v1/models?/../../server_info", "form": "query up", "status": 200}
    assert findings("OUT-02", answers=[answer(path="/server_info", body="models", **odd)]) == []
    assert findings("OUT-02", answers=[answer(path="/server_info", body="json", **odd)]) != []


@pytest.mark.parametrize("status", [200, 405])
def test_a_wrong_key_that_opens_is_found(status: int) -> None:
    told = answer(path="/pause", key="wrong", status=status, body="detail", headers={"allow": "POST"})
    assert findings("OUT-02", answers=[told]) != []
