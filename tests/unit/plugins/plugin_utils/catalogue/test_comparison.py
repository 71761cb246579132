# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A running server that differs from the catalogue is found out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue.comparison import (
    Change,
    Difference,
    LiveRoute,
    compare_routes,
    expected,
)
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue.conditions import holds, terms_of

# Dumps of the real application (tools/dump_routes.py), each route asked once without a key; "scoring" stands for one label.
OBSERVED: list[dict[str, Any]] = json.loads(Path(__file__).with_name("live-0.32.0.json").read_text(encoding="utf-8"))


def live(observed: dict[str, Any]) -> list[LiveRoute]:
    return [LiveRoute(row.split()[0], row.split()[1], row.endswith(" key")) for row in observed["routes"]]


def options(argv: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in argv:
        if word.startswith("--"):
            found[word[2:]] = []
        else:
            found[list(found)[-1]].append(word)
    return found


def wanted(observed: dict[str, Any]) -> tuple[catalogue.Route, ...]:
    return expected("0.32.0", terms_of(options(observed["argv"]), observed["environment"], observed["tasks"]))


@pytest.mark.parametrize("observed", OBSERVED, ids=lambda entry: entry["name"])
def test_the_real_application_is_as_the_catalogue_says(observed: dict[str, Any]) -> None:
    assert compare_routes(live(observed), wanted(observed), "--api-key" in observed["argv"]) == []


GENERATE = OBSERVED[0]


def test_an_added_route_is_found() -> None:
    server = [*live(GENERATE), LiveRoute("POST", "/v1/backdoor", True)]
    assert compare_routes(server, wanted(GENERATE)) == [Difference(Change.ADDED, "POST", "/v1/backdoor")]


def test_an_added_method_is_found() -> None:
    server = [*live(GENERATE), LiveRoute("DELETE", "/v1/models", True)]
    assert compare_routes(server, wanted(GENERATE)) == [Difference(Change.ADDED, "DELETE", "/v1/models")]


def test_a_removed_route_is_found() -> None:
    server = [route for route in live(GENERATE) if route.path != "/tokenize"]
    assert compare_routes(server, wanted(GENERATE)) == [Difference(Change.REMOVED, "POST", "/tokenize")]


def test_a_newly_unguarded_route_is_found() -> None:
    server = [
        LiveRoute(route.method, route.path, route.guarded and route.path != "/v1/models") for route in live(GENERATE)
    ]
    assert compare_routes(server, wanted(GENERATE)) == [Difference(Change.UNGUARDED, "GET", "/v1/models")]


def test_a_newly_guarded_route_is_found() -> None:
    server = [
        LiveRoute(route.method, route.path, bool(route.guarded) or route.path == "/version") for route in live(GENERATE)
    ]
    assert compare_routes(server, wanted(GENERATE)) == [Difference(Change.GUARDED, "GET", "/version")]


def test_a_key_that_guards_nothing_is_found() -> None:
    (nokey,) = (entry for entry in OBSERVED if entry["name"] == "generate without a key")
    changes = compare_routes(live(nokey), wanted(nokey), key=True)
    assert {difference.change for difference in changes} == {Change.UNGUARDED}
    assert {difference.path for difference in changes} >= {"/v1/models", "/v1/chat/completions"}


def test_a_switched_on_mode_is_found() -> None:
    (dev,) = (entry for entry in OBSERVED if entry["name"] == "development mode")
    added = {
        difference.path
        for difference in compare_routes(live(dev), wanted(GENERATE))
        if difference.change is Change.ADDED
    }
    assert {"/collective_rpc", "/update_weights", "/pause"} <= added


def test_several_differences_come_in_order() -> None:
    server = [route for route in live(GENERATE) if route.path != "/version"] + [
        LiveRoute("GET", "/zzz"),
        LiveRoute("GET", "/aaa"),
    ]
    assert [difference.path for difference in compare_routes(server, wanted(GENERATE))] == ["/aaa", "/version", "/zzz"]


def test_names_of_parameters_and_implied_methods_do_not_count() -> None:
    server = [
        LiveRoute("HEAD", "/health"),
        LiveRoute("OPTIONS", "/health"),
        LiveRoute("GET", "/v1/responses/{id}", True),
    ]
    catalogued = [route for route in catalogue.routes() if route.path == "/v1/responses/{response_id}"]
    assert compare_routes(server, catalogued) == []


def test_sentences() -> None:
    assert Difference(Change.UNGUARDED, "GET", "/v1/models").sentence() == (
        "GET /v1/models: the server asks for no key and the catalogue says it does"
    )
    assert (
        Difference(Change.ADDED, "POST", "/x").sentence()
        == "POST /x: the server has it and the catalogue does not know it"
    )


@pytest.mark.parametrize(
    "entry", [{}, {"method": "GET"}, {"method": "GET", "path": "x"}, {"method": "GET", "path": "/x", "guarded": 1}]
)
def test_what_is_no_route_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is no route"):
        LiveRoute.parse(entry)


@pytest.mark.parametrize(
    ("condition", "true", "answer"),
    [
        ("always", set(), True),
        ("never", {"generate"}, False),
        ("generate", {"generate"}, True),
        ("not --disable-fastapi-docs", set(), True),
        ("not --disable-fastapi-docs or --enable-offline-docs", {"--disable-fastapi-docs"}, False),
        ("--tokens-only and generate or VLLM_SERVER_DEV_MODE", {"--tokens-only"}, False),
        ("--tokens-only and generate or VLLM_SERVER_DEV_MODE", {"VLLM_SERVER_DEV_MODE"}, True),
    ],
)
def test_conditions(condition: str, true: set[str], answer: bool) -> None:
    assert holds(condition, frozenset(true)) is answer


def test_terms_of_a_process() -> None:
    found = terms_of(
        {"tokens-only": []}, {"VLLM_SERVER_DEV_MODE": "0", "VLLM_ENABLE_COHERE_API": "1"}, ["embed"], ["cohere"]
    )
    assert found == {"--tokens-only", "VLLM_ENABLE_COHERE_API", "embed", "pooling", "scoring", "cohere-sdk"}
