# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock an installation is held to, from the declaration to the plan."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan

from .conftest import TODAY

BUNDLE = {"bundle": "bundles/0.32.0"}


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
