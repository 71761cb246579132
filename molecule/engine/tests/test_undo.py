# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking the engine away. Named so that it runs last."""

from __future__ import annotations

from engine_lab import Engine, play

ENGINE_PATHS = "/etc/hardened-vllm/engine /etc/systemd/system/hardened-vllm-engine.service /run/vllm"
DATA_PATHS = "/var/lib/vllm /var/cache/vllm /opt/hardened-vllm/engine"


def existing(engine: Engine, paths: str) -> list[str]:
    return engine.shell(f"for p in {paths}; do if [ -e $p ]; then echo $p; fi; done").split()


def test_removal_says_first_what_it_would_do(engine: Engine) -> None:
    code, said = play("remove.yml", "--check", "--diff")
    assert code == 0, said
    assert "-/etc/hardened-vllm/engine/secrets.yaml" in said
    assert engine.tokens() == 3


def test_removal_takes_the_service_and_keeps_the_data(engine: Engine) -> None:
    engine.shell("mkdir -p /opt/hardened-vllm/engine")
    code, said = play("remove.yml")
    assert code == 0, said
    assert existing(engine, ENGINE_PATHS) == []
    assert existing(engine, DATA_PATHS) == DATA_PATHS.split()
    assert engine.show("LoadState") == "not-found"
    assert engine.shell("ss -Hltn 'sport = 8000'") == ""
    assert engine.shell("ls /opt/models/tiny/config.json")


def test_a_second_removal_changes_nothing() -> None:
    assert "changed=0" in play("remove.yml")[1]


def test_removal_of_the_data_leaves_nothing(engine: Engine) -> None:
    code, said = play("remove.yml", engine_remove_data=True)
    assert code == 0, said
    assert existing(engine, DATA_PATHS) == []
    assert engine.shell("getent passwd vllm || true") == ""
    assert "changed=0" in play("remove.yml", engine_remove_data=True)[1]
