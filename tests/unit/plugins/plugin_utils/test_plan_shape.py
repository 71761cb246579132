# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan's shape belongs to its FORMAT: who keeps a plan, or compares one with another release's, goes by that number.

``python tests/unit/plugins/plugin_utils/test_plan_shape.py`` (PYTHONPATH=.cache:tests) writes plan_shape.json anew.
"""

from __future__ import annotations

import copy
import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from ansible_collections.hardened.vllm.plugins.plugin_utils.planning.plan import FORMAT
from support.topologies import topologies

KEPT = Path(__file__).with_name("plan_shape.json")
# Keys of these mappings are names somebody chose, or settings of other programs: any of them may come without another shape.
NAMED = {"sets", "members", "hosts", "addresses", "interfaces", "environment", "secret_arguments", "sysctl"}
_WORDS = {
    dict: "mapping",
    list: "list",
    str: "text",
    int: "number",
    float: "number",
    bool: "true or false",
    type(None): "null",
}


def shape_of(value: Any, path: str, found: dict[str, set[str]]) -> None:
    found.setdefault(path, set()).add(_WORDS[type(value)])
    if isinstance(value, list):
        for inner in value:
            shape_of(inner, f"{path}[]", found)
    elif isinstance(value, dict):
        named = path.rpartition(".")[2] in NAMED
        for key, inner in value.items():
            shape_of(inner, f"{path}.*" if named else f"{path}.{key}", found)


def shape() -> dict[str, list[str]]:
    """Return every place of the plans of all topologies, and of one with TLS to the engines, with the types found there."""
    every = list(topologies().values())
    encrypted = copy.deepcopy(every[0])
    encrypted[0].setdefault("engine", {})["tls"] = {"client": True}
    found: dict[str, set[str]] = {}
    for cluster, hosts in [*every, encrypted]:
        shape_of(plan(cluster, hosts, datetime.date(2026, 11, 25)), "plan", found)
    return {path: sorted(found[path]) for path in sorted(found)}


def judged(kept: dict[str, Any], number: int, now: dict[str, list[str]]) -> str:
    """Return what is to be done, empty when nothing is."""
    gone = [f"- {path}: {' or '.join(kinds)}" for path, kinds in kept["shape"].items() if now.get(path) != kinds]
    come = [f"+ {path}: {' or '.join(kinds)}" for path, kinds in now.items() if kept["shape"].get(path) != kinds]
    lines = "\n".join([*gone, *come])
    if lines and kept["format"] == number:
        told = f"The plan has another shape and still FORMAT {number}. Raise FORMAT in planning/plan.py, describe it in"
        return f"{told} docs/plan.md, then write {KEPT.name} anew:\n{lines}"
    if kept["format"] != number:
        return f"FORMAT is {number}, {KEPT.name} is of {kept['format']}: write it anew (see this file's head).\n{lines}"
    return ""


def test_the_shape_is_that_of_the_format() -> None:
    told = judged(json.loads(KEPT.read_text(encoding="utf-8")), FORMAT, shape())
    if told:
        pytest.fail(told)


def test_another_shape_is_noticed() -> None:
    now = {"plan": ["mapping"], "plan.a": ["text"]}
    kept = {"format": 3, "shape": now}
    assert judged(kept, 3, now) == ""
    assert "+ plan.b: number" in judged(kept, 3, {**now, "plan.b": ["number"]})
    assert "- plan.a: text" in judged(kept, 3, {"plan": ["mapping"]})
    assert "+ plan.a: null or text" in judged(kept, 3, {**now, "plan.a": ["null", "text"]})
    assert "Raise FORMAT" in judged(kept, 3, {"plan": ["mapping"]})
    assert "write it anew" in judged(kept, 4, now)


if __name__ == "__main__":
    KEPT.write_text(json.dumps({"format": FORMAT, "shape": shape()}, indent=1) + "\n", encoding="utf-8")
