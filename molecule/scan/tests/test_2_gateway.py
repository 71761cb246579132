# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scanners in front of the gateway."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from scan.support import EDGE4, EDGE6, differences_from_intermediate, fuzz, ports, weaknesses

GROUPS = frozenset({"models", "chat", "chat-batch", "completions", "messages", "responses"})
DECLARED = {(route.method, route.path) for route in catalogue.user_routes(GROUPS, "0.32.0")}
# As the engine sees it.
GATEWAY = "10.229.1.20"
Log = Callable[[], list[dict[str, Any]]]


@pytest.mark.parametrize("address", [EDGE4, EDGE6])
def test_nmap_sees_one_port(address: str) -> None:
    assert ports(address) == {443}


def test_sslyze_finds_mozilla_s_intermediate_set() -> None:
    assert differences_from_intermediate(443) == []


def test_testssl_finds_nothing_worse_than_low(tmp_path: Path) -> None:
    assert weaknesses(443, tmp_path / "report.json") == {}


def known(document: Path) -> set[str]:
    """The routes of vLLM's document whose path is no pattern."""
    return {path for path in json.loads(document.read_text())["paths"] if "{" not in path}


def test_schemathesis_with_a_key(
    document: Path, tmp_path: Path, key: str, log: Log, journal: Callable[[], str]
) -> None:
    """Every route of vLLM's own document, the tenant's and the others, with bodies right and wrong."""
    asked = fuzz(
        f"https://{EDGE4}",
        document,
        tmp_path / "report.har",
        f"--header=Authorization: Bearer {key}",
        "--phases=fuzzing",
        "--max-examples=25",
        "--request-timeout=60",
    )
    assert known(document) <= {one.path for one in asked}, "every route was tried"
    assert len(asked) > 200
    allowed = {path for _method, path in DECLARED}
    assert [one for one in asked if (one.method, one.path) not in DECLARED and one.status < 400] == []
    assert [one for one in asked if one.path not in allowed and one.status not in (400, 404, 413)] == []
    answered = {one.path for one in asked if one.status == 200}
    assert "/v1/models" in answered and len(answered) > 1, "some of them are good enough for an answer"
    lines = log()
    # What reached the engine, by the gateway's log and by vLLM's own.
    assert {line["route"] for line in lines if line["upstream"]} <= allowed
    seen = set(re.findall(rf'{re.escape(GATEWAY)}:\d+ - "([A-Z]+) (\S+) HTTP/1\.1"', journal()))
    assert seen
    assert {(method, path) for method, path in seen if (method, path) not in DECLARED} == set()
    # An error of the service is one only where the engine itself had one.
    failed = [line for line in lines if line["status"] >= 500]
    assert [line for line in failed if not str(line["upstream_status"]).startswith("5")] == []


def test_schemathesis_without_a_key(document: Path, tmp_path: Path, log: Log, journal: Callable[[], str]) -> None:
    asked = fuzz(f"https://{EDGE4}", document, tmp_path / "report.har", "--max-examples=3", "--phases=fuzzing")
    assert known(document) <= {one.path for one in asked}, "every route was tried"
    assert {one.status for one in asked} <= {400, 401, 429}
    assert {line["upstream"] for line in log()} == {""}
    assert f"{GATEWAY}:" not in journal()
