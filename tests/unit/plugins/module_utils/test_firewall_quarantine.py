# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of a host in quarantine: nothing but administrators, whatever the plan opens otherwise."""

from __future__ import annotations

import datetime
import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from support.firewall import render_quarantine
from support.topologies import TOPOLOGIES, declaration

DAY = datetime.date(2026, 11, 23)


def rules(topology: str) -> dict[str, str]:
    made = plan(*declaration(topology), DAY)
    return {name: render_quarantine({"cluster": made, "host": host}) for name, host in made["hosts"].items()}


@pytest.mark.parametrize("topology", sorted(TOPOLOGIES))
def test_only_administrators_are_named(topology: str) -> None:
    for text in rules(topology).values():
        lines = [line.strip() for line in text.splitlines()]
        assert {line for line in lines if line.startswith("set ")} == {
            f"set {name} {{"
            for name in ("from_operators_ipv4", "from_operators_ipv6", "operator_ipv4", "operator_ipv6")
        }
        assert "established" not in [word for line in lines if not line.startswith("#") for word in line.split()]
        policies = [line for line in lines if "hook" in line]
        assert len(policies) == 3 and all(line.endswith("policy drop;") for line in policies)


@pytest.mark.skipif(os.geteuid() != 0, reason="nft checks rules for root only")
def test_nft_accepts_it(tmp_path: Path) -> None:
    for name, text in rules("replicas").items():
        path = tmp_path / f"{name}.nft"
        path.write_text(text)
        subprocess.run(["unshare", "--net", "nft", "--check", "--file", str(path)], check=True)
