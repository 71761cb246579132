# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence of hosts that are somebody else's by now: it speaks for nobody else, costs the others nothing and acts on nobody."""

from __future__ import annotations

import copy
import datetime
import time
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit import gathering, judge, questions, receiving
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.gathering import gathered
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.secrecy import MOST_CHARACTERS, digest, reduced
from ansible_collections.hardened.vllm.plugins.plugin_utils.report.audit.formats import FORMATS
from support import audit

NOW = datetime.datetime(2026, 11, 25, 15, tzinfo=datetime.UTC)
PLAN = audit.plan()
HOSTS = audit.evidence(PLAN)["hosts"]
# What is quadratic takes minutes on this input; what is linear a small part of a second, on a busy machine a few.
SECONDS = 30


def reach(observer: str, standing: str, opened: list[int], host: str = "engine11") -> dict[str, Any]:
    ports = ",".join(str(port) for port in opened) if len(opened) < 10 else ""
    row = {
        "host": host,
        "address": "10.20.0.12",
        "protocol": "tcp",
        "open": opened,
        "refused": "",
        "filtered": "",
        "untried": "",
    }
    return {
        "format": 1, "kind": "reach", "observer": observer, "standing": standing, "sources": ["10.20.0.99"], "taken": audit.TAKEN,
        "seconds": 1.0, "reached": [{**row, "reason": None, "filtered": "1-65535" if ports else ""}], "unknown": [],
    }  # fmt: skip


def test_a_place_speaks_under_its_own_name_and_standing_only() -> None:
    looks = {"engine11": {"evidence": HOSTS["engine11"]}}
    said = {
        "engine12": {"evidence": reach("observer", "observer", [])},
        "engine13": {"evidence": reach("engine13", "observer", [])},
        "engine14": {"evidence": reach("engine14", "peer", [])},
    }
    standings = {"engine12": "peer", "engine13": "peer", "engine14": "peer"}
    found = gathered(looks, said, {}, NOW, standings)
    assert [one["observer"] for one in found["reach"]] == ["engine14"]
    reasons = {one["host"]: one["reason"] for one in found["missing"]}
    assert reasons["engine12"].startswith("observer is 'observer'; expected 'engine12'")
    assert reasons["engine13"].startswith("standing is 'observer'; expected 'peer'")


@pytest.mark.parametrize("told", ["\n", " \n x", "", None])
def test_a_failure_without_words_ends_nothing(told: Any) -> None:
    found = gathered({"a": {"failed": True, "msg": told}, "b": {"evidence": HOSTS["engine11"]}}, {}, {}, NOW)
    assert list(found["hosts"]) == ["b"]
    assert [one["host"] for one in found["missing"]] == ["a"]


def test_a_host_shows_so_much_of_a_thing_and_no_more() -> None:
    crowded = copy.deepcopy(HOSTS["engine11"])
    crowded["processes"] = crowded["processes"] * (gathering.MOST["processes"] + 1)
    found = gathered({"a": {"evidence": crowded}, "b": {"evidence": HOSTS["engine12"]}}, {}, {}, NOW)
    assert list(found["hosts"]) == ["b"]
    assert "processes; expected 1000 at most" in found["missing"][0]["reason"]


def test_where_every_port_answers_the_others_are_judged_all_the_same() -> None:
    """Two rules of a packet filter do that. Before, questions, judge and table took time by the square of the ports."""
    every = list(range(1, 65536))
    looks = {name: {"evidence": one} for name, one in HOSTS.items()}
    begun = time.monotonic()
    found = gathered(looks, {"o": {"evidence": reach("o", "observer", every)}}, {}, NOW)
    asked = questions.asks("o", found["hosts"], {"chat": PLAN}, found["reach"])
    result = judge.judge(found, {"chat": PLAN}, [], {}, NOW.date())
    sizes = {name: len(render(result)) for name, render in FORMATS.items()}
    assert time.monotonic() - begun < SECONDS
    assert len([one for one in asked["endpoints"] if one["host"] == "engine11"]) <= gathering.MOST_OPEN
    assert max(sizes.values()) < 4 << 20, sizes
    mine = [one for one in result["findings"] if one["host"] == "engine11" and one["control"] == "NET-01"]
    assert len(mine) == judge.MOST + 1
    assert [one["found"] for one in mine if one["place"] == "all of them"] == ["255 findings, of which 200 are told"]
    (ended,) = [one for one in result["outcomes"] if (one["control"], one["host"]) == ("NET-01", "engine11")]
    assert ended["outcome"] == "failed" and any("65535 ports are open" in why for why in ended["why"])


@pytest.mark.parametrize(
    "text", ["-" * 1_000_000, "_-" * 500_000, "://a:" * 200_000, "token" * 200_000, "a" * 1_000_000]
)
def test_no_text_keeps_the_judge_from_its_work(text: str) -> None:
    begun = time.monotonic()
    assert len(reduced(text, {"0" * 64: "x"})) < MOST_CHARACTERS + 100
    assert time.monotonic() - begun < SECONDS


def test_a_long_text_is_not_cut_within_a_secret() -> None:
    secret = "sk-0123456789abcdef0123456789"
    told = reduced("x " * (MOST_CHARACTERS // 2 - 5) + secret + " y" * 50, {})
    assert secret[:8] not in told and told.endswith("characters)")
    assert digest(secret) in reduced(f"--key {secret}", {})


def test_what_is_let_in_of_a_result() -> None:
    facts = {
        "ansible_facts": {"audit_fail_on": "never"},
        "warnings": ["\x1b[2J"],
        "_ansible_verbose_always": True,
        "invocation": {},
    }
    assert receiving.received({**facts, "evidence": {"a": 1}}) == {"changed": False, "evidence": {"a": 1}}
    assert receiving.received({**facts, "failed": True, "msg": "a\x1b[2J\n\x9bb\u202e"}) == {
        "changed": False,
        "failed": True,
        "msg": "a?[2J ?b?",
    }
    assert receiving.received(facts)["msg"] == "the host returned no evidence"
    assert receiving.received({"evidence": "x" * 100}, 50) == {
        "changed": False,
        "failed": True,
        "msg": "the evidence has 102 bytes; expected 50 at most",
    }
    deep: Any = []
    for _level in range(100_000):
        deep = [deep]
    assert receiving.received({"evidence": deep})["msg"] == "the evidence is no JSON"
    assert len(receiving.received({"failed": True, "msg": "x" * 10**6})["msg"]) < 600
