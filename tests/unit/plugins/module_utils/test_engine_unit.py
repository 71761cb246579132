# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from systemd about a unit."""

from __future__ import annotations

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import commands, engine_unit


def test_the_end_of_a_long_journal_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """As systemd 252 answers: with --since, --lines counts from the beginning unless the order is reversed."""
    written = [f"answered request {number}" for number in range(5000)]
    written[4000:4000] = ["RuntimeError: the cause"]
    written.append("the end")

    def journalctl(argv: list[str], _timeout: float) -> str:
        count = int(argv[argv.index("--lines") + 1])
        return "\n".join((written[::-1] if "--reverse" in argv else written)[:count])

    monkeypatch.setattr(commands, "run", journalctl)
    tail, causes = engine_unit.journal("engine.service")
    assert tail == written[-engine_unit.JOURNAL_LINES :]
    assert causes == ["RuntimeError: the cause"]


@pytest.mark.parametrize(
    ("state", "begun", "age"), [("active", "4000000", 6.0), ("failed", "4000000", 0.0), ("active", "0", 0.0)]
)
def test_the_age_of_a_process(monkeypatch: pytest.MonkeyPatch, state: str, begun: str, age: float) -> None:
    said = f"ActiveState={state}\nExecMainStartTimestampMonotonic={begun}\n"
    monkeypatch.setattr(commands, "run", lambda _argv, _timeout: said)
    monkeypatch.setattr(engine_unit.time, "monotonic", lambda: 10.0)
    assert engine_unit.age("engine.service") == age
