# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real application, built with the planned options, has the routes the catalogue says, with a key and without."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue.comparison import (
    LiveRoute,
    compare_routes,
    expected,
)
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue.conditions import terms_of
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from support.topologies import declaration

from .conftest import PYTHON, ROOT, TODAY, needs_vllm, of

KEY = ["--api-key", "a-key-of-this-test-and-of-nothing-else"]
GUARDED = {"/v1/models", "/v1/chat/completions", "/v1/completions"}


def live(argv: list[str], environment: dict[str, str], tasks: str) -> list[LiveRoute]:
    command = [str(PYTHON), str(ROOT / "tools/dump_routes.py"), tasks, *argv]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [LiveRoute.parse(entry) for entry in json.loads(done.stdout[done.stdout.index("[\n") :])]


def options(argv: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in argv:
        if word.startswith("--"):
            found[word[2:]] = []
        elif found:
            found[list(found)[-1]].append(word)
    return found


@needs_vllm
@pytest.mark.parametrize(
    ("tasks", "key"),
    [("generate", KEY), ("generate", []), ("embed", KEY), ("transcription", KEY)],
    ids=["generate", "generate without a key", "embed", "transcription"],
)
def test_the_planned_server_has_the_routes_of_the_catalogue(tasks: str, key: list[str], release: str) -> None:
    cluster, hosts = declaration("replicas")
    made = plan({**cluster, **of(release)}, hosts, TODAY)
    part = made["hosts"]["engine11"]["engines"][0]
    argv = [*part["argv"][1:], *key]
    found = live(argv, part["environment"], tasks)
    known = expected(made["release"], terms_of(options(argv), part["environment"], tasks.split(",")))
    assert [difference.sentence() for difference in compare_routes(found, known, bool(key))] == []
    if tasks == "generate":
        assert {route.path for route in found if route.guarded} >= (GUARDED if key else set())
        assert bool([route for route in found if route.guarded]) == bool(key)
