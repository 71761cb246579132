# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters of the audit in templates: good input, and bad input with its exact message."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from support import audit
from support.expressions import Run, answers, evaluate


def written(place: Path, **values: Any) -> dict[str, str]:
    """Write values as JSON, and return the expression that reads each."""
    found = {}
    for name, value in values.items():
        (place / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
        found[name] = f"(lookup('ansible.builtin.file', '{place}/{name}.json') | from_json)"
    return found


def test_from_evidence_to_every_form_of_report(ansible: Run, tmp_path: Path) -> None:
    plan = audit.plan()
    evidence = audit.evidence(plan)
    evidence["hosts"]["engine11"]["processes"][0]["environment"]["VLLM_SERVER_DEV_MODE"] = "1"
    read = written(tmp_path, evidence=evidence, plans={"chat": plan})
    waivers = "[{'rule': 'VER-01', 'reason': 'accepted for a test', 'owner': 'tests', 'expires': '2026-12-31', 'hosts': ['engine11']}]"
    judged = (
        f"{read['evidence']} | hardened.vllm.audit_judge(plans={read['plans']}, waivers={waivers}, today='2026-11-25')"
    )
    formats = ("text", "json", "sarif", "junit", "html")
    cases = [
        f"({judged}).findings | map(attribute='control') | list",
        *(f"({judged} | hardened.vllm.audit_report('{one}')).splitlines()[0]" for one in formats),
        f"({judged} | hardened.vllm.audit_report('json') | from_json).verdict.word",
        "{'a.txt': 'x'} | hardened.vllm.audit_report('digests')",
        f"({read['evidence']} | hardened.vllm.audit_judge(previous={judged}, today='2026-11-25')).compared_with",
        f"({read['evidence']} | hardened.vllm.audit_judge).verdict.word",
        f"({judged} | to_json | hardened.vllm.audit_former).taken",
        "{} | hardened.vllm.audit_inventory({}) | hardened.vllm.audit_plans",
        "({} | hardened.vllm.audit_evidence(missing=[{'host': 'a', 'part': 'plan', 'reason': 'x'}])).missing",
    ]
    done = evaluate(ansible, tmp_path, cases)
    found = answers(done)
    assert '"ENG-01", "VER-01", "VER-01"' in found[0], found[0]
    for answer, start in zip(
        found[1:6], ("Failed: 1 error and 1 warning", "{", "{", "<?xml", "<!DOCTYPE html>"), strict=True
    ):
        assert f'"msg": "{start}' in answer, answer
    assert '"failed"' in found[6]
    assert f"{hashlib.sha256(b'x').hexdigest()} a.txt" in found[7]
    assert audit.TAKEN in found[8]
    assert '"failed"' in found[9]
    assert audit.TAKEN in found[10]
    assert all(f'"{name}"' in found[11] for name in ("missing", "plans", "waivers"))
    assert '"part": "plan"' in found[12]
    assert "Traceback" not in done.stdout + done.stderr


EMPTY = "{'format': 1, 'taken': 'x', 'hosts': {}, 'reach': [], 'routes': [], 'missing': []}"
BAD = [
    ("5 | hardened.vllm.audit_judge", "hardened.vllm.audit_judge: the evidence must be a mapping, found a number"),
    ("{} | hardened.vllm.audit_judge", "hardened.vllm.audit_judge: the evidence has format None; expected 1"),
    (
        f"{EMPTY} | combine({{'reach': 'x'}}) | hardened.vllm.audit_judge",
        "hardened.vllm.audit_judge: the evidence.reach is 'x'; expected a list: it is not as the modules of this release collect it",
    ),
    (
        f"{EMPTY} | combine({{'format': 9}}) | hardened.vllm.audit_judge",
        "hardened.vllm.audit_judge: the evidence has format 9; expected 1",
    ),
    (
        f"{EMPTY} | combine({{'hosts': {{'a': {{}}}}}}) | hardened.vllm.audit_judge",
        "hardened.vllm.audit_judge: the evidence.hosts['a'].format is missing: it is not as the modules of this release",
    ),
    (
        f"{EMPTY} | hardened.vllm.audit_judge(plans=[])",
        "hardened.vllm.audit_judge: plans must be a mapping, found a list",
    ),
    (
        f"{EMPTY} | hardened.vllm.audit_judge(plans={{'chat': {{}}}})",
        "hardened.vllm.audit_judge: plans[chat] is no plan: expected what hardened.vllm.plan returns",
    ),
    (
        f"{EMPTY} | hardened.vllm.audit_judge(digests={{'upstream': 'secret'}})",
        "hardened.vllm.audit_judge: digests[upstream] must be 64 hexadecimal digits, the SHA-256 of a secret",
    ),
    (
        f"{EMPTY} | hardened.vllm.audit_judge(waivers=[{{'rule': 'NET-01'}}])",
        "hardened.vllm.audit_judge: error [missing-key] waivers[0].expires",
    ),
    (
        f"{EMPTY} | hardened.vllm.audit_judge(today='tomorrow')",
        "hardened.vllm.audit_judge: today must be a date such as 2027-01-31",
    ),
    (
        f"{EMPTY} | hardened.vllm.audit_judge(previous={{'format': 7}})",
        "hardened.vllm.audit_judge: the former result has format 7; expected 1",
    ),
    (
        "{'a': {}} | hardened.vllm.audit_targets('o', 'observer')",
        "hardened.vllm.audit_targets: hosts['a'].format is missing: it is not as hardened.vllm.audit_host returns it",
    ),
    (
        "{} | hardened.vllm.audit_asks('o', reach=[5])",
        "hardened.vllm.audit_asks: reach[0] is 5; expected a mapping: it is not as hardened.vllm.audit_reach returns it",
    ),
    (
        "{} | hardened.vllm.audit_inventory({}, {'a': 5})",
        "hardened.vllm.audit_inventory: evidence['a'] is 5; expected a mapping: it is not as hardened.vllm.audit_host returns it",
    ),
    ("5 | hardened.vllm.audit_plans", "hardened.vllm.audit_plans: the input must be a mapping, found a number"),
    ("{} | hardened.vllm.audit_plans", "hardened.vllm.audit_plans: the input has no clusters; expected what"),
    ("'' | hardened.vllm.audit_former", "hardened.vllm.audit_former: the former result is no JSON"),
    (
        "'{}' | hardened.vllm.audit_former",
        "hardened.vllm.audit_former: the former result has format None; expected 1",
    ),
    ("5 | hardened.vllm.audit_report", "hardened.vllm.audit_report: the input must be a mapping, found a number"),
    ("{} | hardened.vllm.audit_report('pdf')", "hardened.vllm.audit_report: unknown format 'pdf'."),
    ("{} | hardened.vllm.audit_report('html')", "hardened.vllm.audit_report: the result has format None; expected 1"),
    (
        "{'format': 1} | hardened.vllm.audit_report('html')",
        "hardened.vllm.audit_report: the result.taken is missing: it is not as hardened.vllm.audit_judge returns it",
    ),
    (
        "{'a': 5} | hardened.vllm.audit_report('digests')",
        "hardened.vllm.audit_report: digests need texts by file name; found int for 'a'",
    ),
]


def test_bad_input_is_refused_in_words(ansible: Run, tmp_path: Path) -> None:
    done = evaluate(ansible, tmp_path, (one for one, _message in BAD))
    for (expression, message), answer in zip(BAD, answers(done), strict=True):
        assert message in answer, (expression, answer)
    assert "Traceback" not in done.stdout + done.stderr
