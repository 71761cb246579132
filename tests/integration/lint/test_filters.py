# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters and the lookup in templates: good input, and bad input with its exact message."""

from __future__ import annotations

import json
from pathlib import Path

from support.expressions import Run, answers, evaluate

GOOD = [
    ("{'argv': ['serve', '/m', '--host', '0.0.0.0'], 'environment': {}} | hardened.vllm.lint", "arg-host"),
    ("'vllm serve /m --grpc' | hardened.vllm.lint", "arg-grpc"),
    ("'VLLM_SERVER_DEV_MODE=1' | hardened.vllm.lint(path='vllm.env')", "env-dev-mode"),
    ("{'text': 'host: 0.0.0.0', 'kind': 'config'} | hardened.vllm.lint(severity='error')", "arg-host"),
    ("[{'argv': ['/m', '--grpc']}, 'A=b'] | hardened.vllm.lint(release='0.32.0')", "arg-grpc"),
]


def test_every_form_of_input(ansible: Run, tmp_path: Path) -> None:
    done = evaluate(ansible, tmp_path, (f"{one} | map(attribute='rule') | list" for one, _rule in GOOD))
    for (expression, rule), answer in zip(GOOD, answers(done), strict=True):
        assert f'"{rule}"' in answer, expression


def test_a_finding_has_its_keys(ansible: Run, tmp_path: Path) -> None:
    asked = "'vllm serve /m --grpc' | hardened.vllm.lint(path='a.sh') | selectattr('rule', 'eq', 'arg-grpc')"
    (answer,) = answers(evaluate(ansible, tmp_path, [asked]))
    found, _end = json.JSONDecoder().raw_decode(answer[answer.index("{") :])
    (finding,) = found["msg"]
    assert finding["message"].startswith("argv.--grpc: found --grpc; expected another value, because ")
    assert (finding["path"], finding["line"], finding["severity"]) == ("a.sh", 1, "error")


BAD = [
    ("5 | hardened.vllm.lint", "hardened.vllm.lint: the input must be a text, a dictionary or a list, found int"),
    ("[5] | hardened.vllm.lint", "hardened.vllm.lint: an input must be a text or a dictionary, found int"),
    ("{'argv': 'x'} | hardened.vllm.lint", "hardened.vllm.lint: argv must be a list of words, found 'x'"),
    ("{'argv': [], 'env': 1} | hardened.vllm.lint", "hardened.vllm.lint: unknown key 'env'."),
    (
        "{'argv': [], 'environment': []} | hardened.vllm.lint",
        "hardened.vllm.lint: environment must be a dictionary",
    ),
    ("{'text': 5} | hardened.vllm.lint", "hardened.vllm.lint: text must be a text, found int"),
    ("'x' | hardened.vllm.lint(kind='unit')", "hardened.vllm.lint: unknown kind 'unit'."),
    ("'x' | hardened.vllm.lint(severity='fatal')", "hardened.vllm.lint: unknown severity 'fatal'"),
    ("'x' | hardened.vllm.lint(release='new')", "hardened.vllm.lint: the release must be a version such as 0.32.0"),
    (
        "5 | hardened.vllm.lint_report",
        "hardened.vllm.lint_report: the input must be a list or a dictionary, found int",
    ),
    ("[] | hardened.vllm.lint_report('xml')", "hardened.vllm.lint_report: unknown format 'xml'."),
    ("[{}] | hardened.vllm.lint_report", "hardened.vllm.lint_report: no finding: KeyError('line')"),
    ("{} | hardened.vllm.lint_report", "hardened.vllm.lint_report: findings must be a list, found NoneType"),
    ("lookup('hardened.vllm.lint', '')", "hardened.vllm.lint: a path must be a text that is not empty, found ''"),
]


def test_bad_input_is_refused_in_words(ansible: Run, tmp_path: Path) -> None:
    done = evaluate(ansible, tmp_path, (one for one, _message in BAD))
    for (expression, message), answer in zip(BAD, answers(done), strict=True):
        assert message in answer, (expression, answer)
    assert "Traceback" not in done.stdout + done.stderr
