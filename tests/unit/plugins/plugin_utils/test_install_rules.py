# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One source of vLLM and one list of pins, with the whole sentence of the rule."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan, validate

from .conftest import TODAY

BUNDLE = {"bundle": "bundles/0.32.0"}
SENTENCE = (
    "error [install-source] vllm_cluster.install.{key}: found {key} beside {found}; "
    "expected one source of vLLM and one list of pins. Leave out install.{key} or install.{other}."
)


@pytest.mark.parametrize(
    ("install", "key", "other", "found"),
    [
        ({**BUNDLE, "method": "existing"}, "bundle", "method", "method: existing"),
        ({**BUNDLE, "index_url": "https://index.example.org/simple"}, "bundle", "index_url", "index_url"),
        ({**BUNDLE, "find_links": "/opt/wheels"}, "bundle", "find_links", "find_links"),
        ({**BUNDLE, "lock": "vllm.lock"}, "bundle", "lock", "lock"),
        ({**BUNDLE, "requirements": ["torch==2.13.0"]}, "bundle", "requirements", "requirements"),
        ({"lock": "vllm.lock", "method": "existing"}, "lock", "method", "method: existing"),
        ({"lock": "vllm.lock", "requirements": ["torch==2.13.0"]}, "lock", "requirements", "requirements"),
    ],
)
def test_a_source_that_would_be_ignored_is_refused(
    cluster: dict[str, Any], hosts: dict[str, Any], install: dict[str, Any], key: str, other: str, found: str
) -> None:
    cluster["install"] = install
    said = [problem.sentence() for problem in validate(cluster, hosts, TODAY)]
    assert said == [SENTENCE.format(key=key, other=other, found=found)]


@pytest.mark.parametrize(
    ("install", "lock"),
    [
        (BUNDLE, "bundles/0.32.0/requirements.lock"),
        ({"lock": "vllm.lock", "index_url": "https://index.example.org/simple"}, "vllm.lock"),
        ({"lock": "vllm.lock", "find_links": "/opt/wheels"}, "vllm.lock"),
        ({"requirements": ["torch==2.13.0"]}, None),
    ],
)
def test_the_plan_names_the_lock(
    cluster: dict[str, Any], hosts: dict[str, Any], install: dict[str, Any], lock: str | None
) -> None:
    cluster["install"] = install
    part = plan(cluster, hosts, TODAY)["hosts"]["engine1"]["install"]
    assert (part["lock"], part["bundle"]) == (lock, install.get("bundle"))
