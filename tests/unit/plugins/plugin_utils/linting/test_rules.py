# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each rule is documented, its examples are true, and the page made from them is fresh."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.artefacts import Artefact, Result, lint_artefacts
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.reading.library import NoLibrary
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.rules import Rule, described, value_rules

ROOT = Path(__file__).resolve().parents[5]
LINTING = ROOT / "plugins/plugin_utils/linting"


def found(example: Mapping[str, Any]) -> set[str]:
    result = Result()
    artefact = Artefact(example["text"], example.get("path", ""), example["kind"], "found_below" not in example)
    lint_artefacts([artefact], NoLibrary(), example.get("release"), None, result)
    return {finding.rule for finding in result.findings}


@pytest.mark.parametrize("rule", described().values(), ids=lambda rule: rule.rule)
def test_the_bad_example_is_found_and_the_good_one_is_not(rule: Rule) -> None:
    assert rule.rule in found(rule.bad)
    assert rule.rule not in found(rule.good)


def noted() -> set[str]:
    """The rules the code itself names."""
    texts = [path.read_text(encoding="utf-8") for path in LINTING.rglob("*.py")]
    names = {name for text in texts for name in re.findall(r'Note\(\s*"([a-z0-9-]+)"', text)}
    # Compose, Kubernetes: the rule is chosen by the key.
    return names | {"host-ipc", "host-pid", "host-network", "unreadable"}


def test_every_rule_is_documented_and_every_documented_rule_exists() -> None:
    assert set(described()) == noted() | {rule.rule for rule in value_rules()}


def test_every_rule_the_code_names_knows_how_bad_it_is() -> None:
    for name in noted():
        assert described()[name].severity is not None, name
        assert described()[name].expected, name
        assert described()[name].remedy, name


def test_the_page_is_fresh() -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("make_rules", ROOT / "tools/make_rules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs/rules.md").read_text(encoding="utf-8")
    assert page == module.page(), "stale: run tools/make_rules.py"
