# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils import engine

READY = {"progress": "ready", "problem": "", "journal": []}
WAITING = {"progress": "waiting", "problem": "no token from rank 1", "journal": []}
FAILED = {"progress": "failed", "problem": "the unit ended", "journal": ["error: bad flag"]}


@pytest.mark.parametrize(
    ("results", "progress"),
    [
        ([READY, READY], "ready"),
        ([READY, WAITING], "waiting"),
        ([FAILED, WAITING], "failed"),
        ([READY, None], "failed"),
        ([READY, {"msg": "MODULE FAILURE"}], "failed"),
        ([READY, {"progress": "splendid"}], "failed"),
    ],
)
def test_an_engine_is_as_good_as_its_worst_node(results: list[Any], progress: str) -> None:
    assert engine.judge({f"node{number}": result for number, result in enumerate(results)})["progress"] == progress


def test_one_node_with_something_new_restarts_all() -> None:
    verdict = engine.judge({"a": {**READY, "restart_needed": False}, "b": {**READY, "restart_needed": True}})
    assert verdict["restart"]
    assert not engine.judge({"a": {**READY, "restart_needed": False}})["restart"]


def test_an_engine_starts_again_only_when_all_its_nodes_have_a_unit() -> None:
    have, lack = {**READY, "startable": True}, {**READY, "startable": False}
    assert engine.judge({"a": have, "b": have})["startable"]
    assert not engine.judge({"a": have, "b": lack})["startable"]
    assert not engine.judge({"a": have, "b": None})["startable"]


def test_the_message_names_the_nodes_that_are_not_ready() -> None:
    message = engine.judge({"a": READY, "b": FAILED, "c": None, "d": {"msg": "boom"}})["message"]
    assert message == (
        "b: the unit ended\nb: its journal ends with\n    error: bad flag\n"
        "c: gave no answer; it cannot be reached or an earlier task failed on it (see above)\nd: boom"
    )


def test_an_engine_without_nodes_is_refused() -> None:
    with pytest.raises(ValueError, match="an engine without nodes"):
        engine.judge({})


def verdict(progress: engine.Progress, startable: bool = True, message: str = "") -> engine.Verdict:
    return engine.Verdict(progress=progress, restart=False, startable=startable, message=message)


@pytest.mark.parametrize(
    ("restarted", "restored", "again", "expected"),
    [
        (False, verdict("ready"), None, "Nothing was restarted: what ran before still runs, unchanged."),
        (True, verdict("ready"), verdict("ready"), "The former state is back on all its nodes and generates again."),
        (True, verdict("ready", startable=False), None, "There was no former state to go back to"),
        (True, verdict("ready"), verdict("failed", message="b: dead"), "does not serve either:\nb: dead"),
        (True, verdict("failed", message="c: gone"), None, "could not be put back everywhere:\nc: gone"),
    ],
)
def test_the_end_says_what_serves_now(
    restarted: bool, restored: engine.Verdict, again: engine.Verdict | None, expected: str
) -> None:
    text = engine.explain_failure("chat", "a: bad flag", restarted=restarted, restored=restored, again=again)
    assert text.startswith("Engine chat does not serve as declared.\na: bad flag\n")
    assert expected in text
