# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The running server is the judge of the catalogue: the routes it has, and which of them ask for a key."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue.comparison import (
    LiveRoute,
    compare_routes,
    expected,
)
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue.conditions import terms_of
from lab.testing import Console

from .conftest import UNIT

RELEASE = "0.32.0"
API = "http://10.220.1.11:8000"
# Each route once without a key, from a gateway, which is let in; the answer's status and nothing else.
ASK = """
import http.client, json, sys
found = {}
for method, path in json.load(sys.stdin):
    connection = http.client.HTTPConnection("10.220.1.11", 8000, timeout=20)
    connection.request(method, path, "{}", {"Content-Type": "application/json"})
    found[method + " " + path] = connection.getresponse().status
    connection.close()
print(json.dumps(found))
"""
# They answer by stopping or changing something, or hold the connection; that they are there is enough to know.
NOT_ASKED = {"/scale_elastic_ep"}


@pytest.fixture(scope="module")
def started(console: Callable[[str], Console]) -> dict[str, Any]:
    """What the unit that runs was started with, and the routes it said it has."""
    head = console("engine1")
    invocation = head.run("systemctl", "show", "-P", "InvocationID", UNIT).strip()
    log = head.run("journalctl", f"_SYSTEMD_INVOCATION_ID={invocation}", "--output=cat", "--no-pager")
    rows = re.findall(r"Route: (\S+), Methods: ([A-Z, ]+)", log)
    pid = head.run("systemctl", "show", "-P", "MainPID", UNIT).strip()
    return {
        "routes": sorted({(method.strip(), path) for path, methods in rows for method in methods.split(",")}),
        "argv": head.run("sh", "-c", f"tr '\\0' '\\n' < /proc/{pid}/cmdline").splitlines(),
        "environment": dict(
            line.split("=", 1) for line in head.run("sh", "-c", f"tr '\\0' '\\n' < /proc/{pid}/environ").splitlines()
        ),
    }


@pytest.fixture(scope="module")
def statuses(started: dict[str, Any], console: Callable[[str], Console]) -> dict[str, int]:
    """The status of every route without a key."""
    asked = [
        (method, re.sub(r"\{[^}]*\}", "x", path))
        for method, path in started["routes"]
        if method not in ("HEAD", "OPTIONS") and path not in NOT_ASKED
    ]
    found: dict[str, int] = json.loads(console("gateway").run("python3", "-c", ASK, given=json.dumps(asked)))
    return found


def known(started: dict[str, Any]) -> Any:
    options: dict[str, list[str]] = {}
    for word in started["argv"]:
        if word.startswith("--"):
            options[word[2:]] = []
        elif options:
            options[list(options)[-1]].append(word)
    terms = terms_of(options, started["environment"], ["generate"])
    # Mounts and WebSockets are not in what the server says of itself.
    return [route for route in expected(RELEASE, terms) if route.method not in ("MOUNT", "WEBSOCKET")]


def test_the_routes_of_the_server_are_those_of_the_catalogue(started: dict[str, Any], statuses: dict[str, int]) -> None:
    live = []
    for method, path in started["routes"]:
        status = statuses.get(f"{method} {re.sub(r'{[^}]*}', 'x', path)}")
        live.append(LiveRoute(method, path, None if status is None else status == 401))
    assert len(live) > 25
    differences = compare_routes(live, known(started))
    assert [difference.sentence() for difference in differences] == []


def test_a_route_the_catalogue_does_not_know_is_found(started: dict[str, Any]) -> None:
    live = [LiveRoute(method, path) for method, path in started["routes"]]
    (found,) = compare_routes([*live, LiveRoute("POST", "/v1/backdoor")], known(started))
    assert found.sentence() == "POST /v1/backdoor: the server has it and the catalogue does not know it"


def test_what_is_off_is_not_there(console: Callable[[str], Console]) -> None:
    asked = json.dumps([["GET", path] for path in ("/docs", "/openapi.json", "/server_info", "/tokenizer_info")])
    found = json.loads(console("gateway").run("python3", "-c", ASK, given=asked))
    assert set(found.values()) == {404}


def test_the_release_is_the_one_that_is_judged(console: Callable[[str], Console]) -> None:
    said = console("gateway").run("curl", "--silent", "--fail", f"{API}/version")
    assert yaml.safe_load(said)["version"].split("+")[0] == RELEASE
