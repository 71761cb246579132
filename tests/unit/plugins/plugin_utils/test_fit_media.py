# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A squid on the port of the proxy for media is the plan's own only where that proxy is installed."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.planning.fit import MEDIA_UNIT, _ports

PART = {"listeners": [{"name": "media", "ports": "3128", "why": "media for the engines"}]}
SQUID = {"listeners": [{"protocol": "tcp", "port": 3128, "processes": [{"pid": 7, "name": "squid"}]}]}


@pytest.mark.parametrize(("installed", "codes"), [({}, ["port-taken"]), ({"installed": {"units": [MEDIA_UNIT]}}, [])])
def test_whose_squid_it_is(installed: dict[str, Any], codes: list[str]) -> None:
    assert [problem.rule for problem in _ports("gateway", PART, {**SQUID, **installed})] == codes
