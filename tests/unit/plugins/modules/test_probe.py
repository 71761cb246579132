# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module probe on this machine: every documented fact is there, and missing tools stop nothing."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.hardened.vllm.plugins.module_utils import probe_common
from ansible_collections.hardened.vllm.plugins.modules import probe


def test_the_facts_are_those_the_documentation_names() -> None:
    documented = yaml.safe_load(probe.RETURN)["probe"]["contains"]
    assert set(probe.collect(["nftables"], ["/opt"])) == set(documented)


def test_without_any_tool_facts_are_null_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_common, "SEARCH_PATH", "/nonexistent")
    facts = probe.collect(["nftables"], [])
    missing = {entry["fact"]: entry["reason"] for entry in facts["unknown"]}
    for name, tool in (("interfaces", "ip"), ("nftables", "nft"), ("packages", "dpkg-query"), ("systemd", "systemctl")):
        assert facts[name] is None
        assert missing[name] == f"the program {tool} is not installed"
    assert facts["addresses"] is None
    assert set(facts["tools"].values()) == {None}
    assert facts["kernel"]
