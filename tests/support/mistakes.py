# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mistakes put into a sound declaration, and the whole sentence each of them is refused with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import validate

Mistake = Callable[[Any, Any], Any]
SENTENCES: dict[str, list[str]] = yaml.safe_load(Path(__file__).with_name("sentences.yml").read_text(encoding="utf-8"))
SOUND = {"addresses": {"10.20.1.11": "eth1", "fd20:1::11": "eth1", "10.20.2.11": "eth0"}}
SIZES = {"attention_heads": 32, "key_value_heads": 8, "layers": 32, "experts": 8}


def put(path: str, value: Any) -> Mistake:
    def mistake(cluster: Any, hosts: Any) -> None:
        target: Any = {"cluster": cluster, "hosts": hosts}
        *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
        for part in parents:
            target = target.setdefault(part, {}) if isinstance(target, dict) else target[part]
        target[last] = value

    return mistake


def addresses(host: str, network: str, value: list[str]) -> Mistake:
    return put(f"hosts/{host}/node/addresses/{network}", value)


def both(*mistakes: Mistake) -> Mistake:
    def mistake(cluster: Any, hosts: Any) -> None:
        for one in mistakes:
            one(cluster, hosts)

    return mistake


def probed(probe: dict[str, Any], host: str = "engine1") -> Mistake:
    return put(f"hosts/{host}/probe", probe)


def sized(**sizes: int | None) -> Mistake:
    return probed({**SOUND, "models": {"/srv/models/example": {**SIZES, **sizes}}})


def numbered(mistakes: list[tuple[str, str, Mistake]]) -> list[tuple[str, str, Mistake, int]]:
    """The mistakes of one rule and path are told apart by their order."""
    seen: dict[tuple[str, str], int] = {}
    rows = []
    for rule, path, mistake in mistakes:
        number = seen.get((rule, path), 0)
        seen[rule, path] = number + 1
        rows.append((rule, path, mistake, number))
    return rows


def check_sentence(rule: str, path: str, mistake: Mistake, number: int, cluster: Any, hosts: Any, today: Any) -> None:
    """Assert that ``mistake`` in a sound declaration is said with the sentence kept for it."""

    def found() -> list[str]:
        problems = validate(cluster, hosts, today)
        return [problem.sentence() for problem in problems if (problem.rule, problem.path) == (rule, path)]

    assert found() == [], "the sound declaration must not have it"
    mistake(cluster, hosts)
    assert found() == [SENTENCES[f"{rule} {path}"][number]]
