# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules of the audit on this machine: documented facts are there, what is missing is said, keys are nowhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

import pytest
import yaml
from ansible_collections.hardened.vllm.plugins.module_utils import audit_pace, probe_common
from ansible_collections.hardened.vllm.plugins.modules import audit_host, audit_reach, audit_routes
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit import evidence
from support import tls

HOST = {"paths": [], "trees": [], "sysctl": ["kernel.no_such_setting"], "packages": ["nginx"]}
KEY = "a-key-that-must-not-be-shown"


class Handler(BaseHTTPRequestHandler):
    """Answers models to the right key only."""

    def do_GET(self) -> None:
        good = self.headers.get("Authorization") == f"Bearer {KEY}"
        body = json.dumps({"object": "list", "data": []} if good else {"error": {"message": "no"}}).encode()
        self.send_response(200 if good else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: Any) -> None:
        """Be silent."""


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_host_is_told_as_documented() -> None:
    found = audit_host.collect(HOST)
    assert set(found) == set(yaml.safe_load(audit_host.RETURN)["evidence"]["contains"])
    assert set(found) == set(get_type_hints(evidence.HostEvidence))
    assert found["format"] == evidence.FORMAT
    assert found["sysctl"]["kernel.no_such_setting"] is None
    json.dumps(found)


def test_shapes_are_those_of_the_evidence() -> None:
    found = audit_host.collect({**HOST, "paths": ["/etc/passwd"]})
    assert set(found["namespaces"][0]) == set(get_type_hints(evidence.Namespace))
    assert [set(one) for one in found["files"] if one["path"] == "/etc/passwd"] == [set(get_type_hints(evidence.File))]
    assert set(found["users"][0]) == set(get_type_hints(evidence.Account))
    for one in found["listeners"]:
        assert set(one) == set(get_type_hints(evidence.Listener))


def test_without_tools_facts_are_null_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_common, "SEARCH_PATH", "/nonexistent")
    found = audit_host.collect(HOST)
    reasons = {one["fact"]: one["reason"] for one in found["unknown"]}
    for name, tool in (("packages", "dpkg-query"), ("addresses", "ip")):
        assert found[name] is None
        assert reasons[name] == f"the program {tool} is not installed"


def test_reach(port: int) -> None:
    target = {"host": "here", "address": "127.0.0.1", "tcp": f"{port}", "udp": ""}
    limits = {"rate": 100, "at_once": 10, "timeout": 1.0, "limit": 10}
    found = audit_reach.collect({"observer": "me", "standing": "observer", "targets": [target], **limits})
    assert set(found) == set(get_type_hints(evidence.ReachEvidence))
    assert found["sources"] == ["127.0.0.1"]
    (row,) = found["reached"]
    assert set(row) == set(get_type_hints(evidence.Reached))
    assert (row["open"], row["refused"], row["untried"]) == ([port], "", "")


def test_reach_says_what_is_wrong_with_a_target() -> None:
    target = {"host": "here", "address": "127.0.0.1", "tcp": "0", "udp": ""}
    with pytest.raises(ValueError, match=r"targets\[0\] \(here\): found '0', expected ports"):
        audit_reach.collect({"observer": "me", "standing": "observer", "targets": [target]})


def routes(port: int, **changed: Any) -> dict[str, Any]:
    request = {"method": "GET", "path": "/v1/models", "target": "/v1/models", "form": "plain"}
    asked = [{**request, "key": key} for key in ("right", "none", "wrong")]
    endpoint = {"host": "here", "address": "127.0.0.1", "port": port, "tls": "auto", "server_name": "", "ask": ["all"]}
    limits = {"at_once": 2, "rate": 100, "timeout": 3, "limit": 60, "authority": ""}
    return {
        "observer": "me",
        "standing": "observer",
        "endpoints": [endpoint],
        "requests": {"all": asked},
        "keys": {"right": KEY},
        **limits,
        **changed,
    }


def test_routes_and_no_key_in_the_evidence(port: int) -> None:
    found = audit_routes.collect(routes(port))
    assert set(found) == set(get_type_hints(evidence.RoutesEvidence))
    assert [(one["key"], one["status"], one["body"]) for one in found["answers"]] == [
        ("right", 200, "models"),
        ("none", 401, "error"),
        ("wrong", 401, "error"),
    ]
    assert set(found["answers"][0]) == set(get_type_hints(evidence.Answer))
    assert set(found["endpoints"][0]) == set(get_type_hints(evidence.Endpoint))
    assert found["endpoints"][0]["speaks"]["plain"] is True
    assert KEY not in json.dumps(found)


def test_a_limit_of_the_server_is_kept_to_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time stands still but for sleeping: so many at once, the others as they come back, the rest when patience is over."""
    clock = [0.0]
    sent: dict[str, list[float]] = {}

    def ask(_endpoint: Any, request: dict[str, Any], _key: str, _timeout: float) -> dict[str, Any]:
        sent.setdefault(request["form"], []).append(clock[0])
        return {"status": 401, "headers": {}, "body": "error", "bytes": 0, "seconds": 0.0, "error": None}

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(audit_routes.audit_http, "ask", ask)
    still = SimpleNamespace(sleep=sleep, monotonic=lambda: clock[0], time=lambda: clock[0])
    monkeypatch.setattr(audit_pace, "time", still)
    request = {"method": "GET", "path": "/v1/models", "target": "/v1/models", "key": "none"}
    slow = [{**request, "form": "slow", "per_minute": 60}] * 120
    asked = [{**request, "form": "burst", "last": True}, *slow, {**request, "form": "quick"}]
    given = routes(1, requests={"all": asked}, rate=1000)
    monkeypatch.setattr(
        audit_routes, "look_at", lambda endpoint, *_: {**endpoint, "tls": False, "speaks": {"plain": True}}
    )
    found = audit_routes.collect(given)
    assert [one["form"] for one in found["answers"]] == ["burst", *["slow"] * 120, "quick"]
    times = sent["slow"]
    assert times[59] < 1
    kept = [moment for moment in times if moment <= 38]
    assert len(kept) > 60 + 30, kept
    assert [pair for pair in enumerate(kept) if pair[0] > 60 + pair[1]] == []
    assert times[-1] < 41
    assert sent["burst"][0] >= max(times[-1], *sent["quick"])


@pytest.mark.parametrize("clients", [False, True])
def test_an_engine_behind_tls_is_looked_at_and_asked_nothing(tmp_path: Path, clients: bool) -> None:
    """As a gateway looks at it, which shows no certificate of its own for that."""
    authority, pair = tls.made(tmp_path, "engines", "engines.internal")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        tls.serve(server, pair, authority if clients else None)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        endpoint = {"host": "e", "address": "127.0.0.1", "port": server.server_address[1], "tls": "auto", "ask": []}
        endpoint["server_name"] = "engines.internal"
        found = audit_routes.collect(routes(1, endpoints=[endpoint]))
        server.shutdown()
        thread.join()
    (seen,) = found["endpoints"]
    assert (seen["tls"], seen["speaks"]["plain"], found["answers"]) == (True, False, [])
    assert seen["certificate"]["matches"] is True


def test_a_port_that_speaks_nothing_is_unknown_and_not_asked() -> None:
    found = audit_routes.collect(routes(1))
    assert found["answers"] == []
    assert found["unknown"][0]["fact"] == "answers:127.0.0.1:1"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"keys": {}}, r"requests.all\[0\].key: there is no key of this name"),
        ({"requests": {"all": [{"method": "GET"}]}}, r"requests.all\[0\]: expected texts for path, target, form, key"),
        (
            {"requests": {"all": [{**dict.fromkeys(audit_routes.ASKED, "none"), "per_minute": "x"}]}},
            r"requests.all\[0\].per_minute: expected a whole number from 1",
        ),
        ({"requests": {}}, r"endpoints\[0\].ask: requests has no set all"),
        ({"requests": {"all": {}}}, "requests.all: found dict, expected a list"),
    ],
)
def test_routes_say_what_was_asked_wrongly(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        audit_routes.collect(routes(1, **changed))


def test_paths_of_containers_are_their_own_but_for_those_of_this_collection() -> None:
    process = {
        "kind": "vllm",
        "container": None,
        "unit": None,
        "environment": None,
        "argv": ["vllm", "serve", "/srv/m"],
    }
    contained = {**process, "container": "0" * 64}
    assert audit_host.named_paths([process]) == ([], ["/srv/m"])
    assert audit_host.named_paths([contained, {**contained, "unit": "docker.service"}]) == ([], [])
    assert audit_host.named_paths([{**contained, "unit": "hardened-vllm-engine.service"}]) == ([], ["/srv/m"])
