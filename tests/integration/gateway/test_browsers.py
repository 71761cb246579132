# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pages in browsers: what the client libraries ask a preflight for is granted, and none of it arrives at an engine."""

from __future__ import annotations

import httpx2 as httpx
import proxies
import pytest

from .conftest import Recorder, Start

PAGE = "https://app.example.org"
STAINLESS = """x-stainless-arch x-stainless-helper-method x-stainless-lang x-stainless-os x-stainless-package-version
x-stainless-retry-count x-stainless-runtime x-stainless-runtime-version x-stainless-timeout"""
# Recorded from the libraries with a browser's globals and a fetch of our own, over chat, streams, tools, responses, models and
# messages. "user-agent" is in a preflight of Firefox only; what every request may have (accept) is in none.
LIBRARIES = {
    "openai 6.49.0": f"authorization content-type openai-beta openai-organization openai-project user-agent {STAINLESS}",
    "@anthropic-ai/sdk 1.14.0, key": "anthropic-beta anthropic-dangerous-direct-browser-access anthropic-version "
    f"content-type user-agent x-api-key x-stainless-helper {STAINLESS}",
    "@anthropic-ai/sdk 1.14.0, token": "anthropic-dangerous-direct-browser-access anthropic-version authorization "
    f"content-type user-agent x-stainless-helper {STAINLESS}",
    "fetch": "authorization content-type x-session-id",
}

CALLS = [("POST", "/v1/chat/completions"), ("POST", "/v1/messages"), ("GET", "/v1/models")]


def refused(answer: httpx.Response, method: str, names: list[str]) -> list[str]:
    """Return what a browser would miss in the answer to a preflight (Fetch, CORS-preflight fetch)."""
    granted = [name.strip() for name in answer.headers.get("Access-Control-Allow-Headers", "").lower().split(",")]
    methods = [name.strip() for name in answer.headers.get("Access-Control-Allow-Methods", "").split(",")]
    missed = [name for name in names if name not in granted]
    missed += [] if method in methods else [method]
    missed += [] if answer.headers.get("Access-Control-Allow-Origin") == PAGE else [PAGE]
    return missed + ([] if answer.is_success else [str(answer.status_code)])


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_may_call_from_a_declared_page(start: Start, library: str) -> None:
    door = start(cors_origins=[PAGE], routes=["models", "chat", "messages"])
    names = LIBRARIES[library].split()
    with httpx.Client(base_url=f"https://127.0.0.1:{door.proxy.port}", verify=False) as client:
        for method, path in CALLS:
            asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": ",".join(names)}
            answer = client.options(path, headers={"Origin": PAGE, **asked})
            assert refused(answer, method, names) == [], path
            foreign = client.options(path, headers={"Origin": "https://evil.example", **asked})
            assert [name for name in foreign.headers if name.startswith("access-control-")] == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_none_of_its_headers_arrives(start: Start, recorder: Recorder, library: str) -> None:
    door = start(cors_origins=[PAGE], routes=["chat", "messages"])
    names = [name for name in LIBRARIES[library].split() if name not in ("authorization", "content-type", "x-api-key")]
    token = (
        {"x-api-key": proxies.KEY} if "x-api-key" in LIBRARIES[library] else {"Authorization": f"Bearer {proxies.KEY}"}
    )
    path = "/v1/messages" if "anthropic" in library else "/v1/chat/completions"
    with httpx.Client(base_url=f"https://127.0.0.1:{door.proxy.port}", verify=False) as client:
        headers = {"Host": "localhost", "Origin": PAGE, **token, **dict.fromkeys(names, "a-mark")}
        answer = client.post(path, json={}, headers=headers)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, PAGE)
    (entry,) = recorder.seen()
    arrived = [line.partition(":")[0].lower() for line in entry["head"].strip().split("\r\n")[1:]]
    assert arrived == ["host", "content-type", "x-request-id", "authorization", "content-length"]
    assert "a-mark" not in entry["head"]
