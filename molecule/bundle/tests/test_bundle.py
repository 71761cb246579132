# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release comes to nodes without an index by a bundle, or not at all; what serves is not touched by one that is spoilt."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import runs
from lab.paths import CHECKOUT
from lab.testing import Console

PLAY_SECONDS = 300
UNIT = "hardened-vllm-engine.service"
ENGINES = ("engine1", "engine2")


@pytest.fixture
def play() -> Callable[..., tuple[int, str]]:
    """A function that runs one of the collection's playbooks; returns its exit code and output, each gap in it as one space."""

    def run(name: str, **variables: object) -> tuple[int, str]:
        done = runs.play("bundle", CHECKOUT / "playbooks" / f"{name}.yml", timeout=PLAY_SECONDS, **variables)
        return done.code, re.sub(r"\s+", " ", done.text)

    return run


@pytest.fixture
def serving(console: Callable[[str], Console]) -> Callable[[], list[str]]:
    """A function that returns, for both engines, the release that serves and the id of its process's run."""
    script = f"systemctl is-active {UNIT}; systemctl show -P ExecStart -P InvocationID {UNIT} | grep -o 'engine/[0-9.]*/\\|^[0-9a-f]*$'"
    return lambda: [console(name).shell(script) for name in ENGINES]


@pytest.fixture
def directory(lab_inventory: Path) -> Path:
    """The lab's directory on the controller."""
    return lab_inventory.parents[1]


def test_nodes_without_wheels_or_index_serve_from_the_bundle(
    serving: Callable[[], list[str]], console: Callable[[str], Console]
) -> None:
    assert all("engine/0.30.0/" in run for run in serving())
    assert console("engine2").shell("ls /opt/wheels 2>&1 || true").endswith("No such file or directory\n")
    for name in ENGINES:
        assert console(name).shell("ls -A /opt/hardened-vllm/engine") == "0.30.0\n", "the archive is not left behind"


def test_the_node_that_gathered_keeps_nothing(console: Callable[[str], Console], directory: Path) -> None:
    assert (
        console("engine1")
        .shell("ls -d /var/lib/hardened-vllm/bundle 2>&1 || true")
        .endswith("No such file or directory\n")
    )
    kept = sorted(path.name for path in (directory / "bundle-0.30.0").iterdir())
    assert kept == ["manifest.json", "requirements.lock", "wheels.tar"]


def test_a_second_rollout_changes_nothing(play: Callable, serving: Callable) -> None:
    before = serving()
    code, said = play("site")
    assert code == 0, said
    assert said.count("changed=0 ") == 3, said
    assert serving() == before


def test_without_a_bundle_the_next_release_reaches_no_other_node(play: Callable, serving: Callable) -> None:
    before = serving()
    code, said = play("upgrade", bundle_release="0.31.0")
    assert code != 0
    assert "installing vllm 0.31.0 failed" in said and "/opt/wheels" in said
    assert serving() == before


def test_a_bundle_that_is_not_there_is_named(play: Callable, serving: Callable) -> None:
    before = serving()
    code, said = play("upgrade", bundle_release="0.31.0", bundle_directory="/nowhere", bundle_in_use=True)
    assert code != 0
    assert "There is no file /nowhere/requirements.lock on the controller." in said
    assert serving() == before


def test_a_spoilt_bundle_touches_nothing_and_a_sound_one_serves(
    play: Callable, serving: Callable, directory: Path
) -> None:
    before = serving()
    code, said = play("bundle", bundle_release="0.31.0", bundle_in_use=False)
    assert code == 0, said
    assert re.search(r"1 wheels, 0\.0 MB, of vllm 0\.31\.0 are in \S+/bundle-0\.31\.0\.", said), said
    archive = directory / "bundle-0.31.0" / "wheels.tar"
    sound = archive.read_bytes()
    spoilt = bytearray(sound)
    spoilt[sound.index(b"PK\x03\x04") + 100] ^= 1
    archive.write_bytes(spoilt)
    code, said = play("upgrade", bundle_release="0.31.0")
    assert code != 0
    assert "vllm-0.31.0-py3-none-any.whl in /opt/hardened-vllm/engine/wheels.tar has the SHA-256" in said, said
    assert serving() == before
    archive.write_bytes(sound)
    code, said = play("upgrade", bundle_release="0.31.0")
    assert code == 0, said
    assert all("engine/0.31.0/" in run for run in serving())
