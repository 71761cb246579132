# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another image comes from its registry or an archive beside what serves, and one that is not as declared, or does not start, does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import runs, vllm_image
from lab.paths import CHECKOUT
from lab.testing import Console

UNIT = "hardened-vllm-engine.service"
PLAY_SECONDS = 900
NOBODY = "198.51.100.1"


@pytest.fixture(scope="module")
def engine(console: Callable[[str], Console]) -> Console:
    return console("engine1")


@pytest.fixture
def play() -> Callable[..., tuple[int, str]]:
    """A function that runs one of the collection's playbooks; returns its exit code and output, each gap in it as one space."""

    def run(name: str, **variables: object) -> tuple[int, str]:
        done = runs.play("quadlet", CHECKOUT / "playbooks" / f"{name}.yml", timeout=PLAY_SECONDS, **variables)
        return done.code, re.sub(r"\s+", " ", done.text)

    return run


@pytest.fixture
def upgrade(play: Callable[..., tuple[int, str]]) -> Callable[..., tuple[int, str]]:
    """A function that brings the named image into service; its arguments are variables of the scenario without their prefix."""

    def run(variant: str, **variables: object) -> tuple[int, str]:
        given = {f"quadlet_scenario_{name}": value for name, value in {"variant": variant, **variables}.items()}
        return play("upgrade", upgrade_downtime_ok=True, **given)

    return run


@pytest.fixture
def silent_registry(console: Callable[[str], Console]) -> Iterator[None]:
    console("world").run("systemctl", "stop", "world")
    yield
    console("world").run("systemctl", "start", "world")


@pytest.fixture(scope="module")
def archive(lab_inventory: Path) -> Iterator[Path]:
    file = lab_inventory.parents[1] / "image.tar"
    vllm_image.archive("next", file)
    yield file
    file.unlink()


def serving(engine: Console) -> tuple[str, str]:
    """Return which image serves, and the run of the unit."""
    engine.run("systemctl", "is-active", UNIT)
    script = f"podman exec hardened-vllm-engine cat /etc/image 2>/dev/null || echo works; systemctl show -P InvocationID {UNIT}"
    name, run = engine.shell(script).split()
    return name, run


def images(engine: Console) -> set[str]:
    return set(engine.run("podman", "images", "--quiet", "--no-trunc").split())


def test_an_image_is_pulled_from_nobody_but_who_is_declared(
    upgrade: Callable[..., tuple[int, str]], engine: Console
) -> None:
    before = serving(engine), images(engine)
    code, said = upgrade("broken", allowed=NOBODY)
    assert code != 0
    assert "cannot be had" in said
    assert (serving(engine), images(engine)) == before


def test_an_archive_with_another_image_is_not_kept(
    upgrade: Callable[..., tuple[int, str]], engine: Console, archive: Path
) -> None:
    before = serving(engine), images(engine)
    code, said = upgrade("broken", archive=str(archive))
    assert code != 0
    assert "the archive holds" in said
    assert (serving(engine), images(engine)) == before


@pytest.mark.usefixtures("silent_registry")
def test_an_archive_serves_where_no_registry_is(
    upgrade: Callable[..., tuple[int, str]], engine: Console, archive: Path
) -> None:
    code, said = upgrade("next", archive=str(archive))
    assert code == 0, said
    assert serving(engine)[0] == "next"
    assert "No such file" in engine.shell("ls /var/lib/hardened-vllm/image.tar 2>&1 || true")


def test_an_image_that_does_not_start_is_taken_back(upgrade: Callable[..., tuple[int, str]], engine: Console) -> None:
    code, said = upgrade("broken")
    assert code != 0
    assert "this image is broken" in said
    assert "The former state is back on all its nodes and generates again" in said
    assert serving(engine)[0] == "next"


@pytest.mark.usefixtures("silent_registry")
def test_a_former_image_comes_back_without_a_pull(upgrade: Callable[..., tuple[int, str]], engine: Console) -> None:
    code, said = upgrade("works")
    assert code == 0, said
    assert serving(engine)[0] == "works"


def test_an_engine_that_dies_comes_back(engine: Console) -> None:
    _, run = serving(engine)
    engine.shell(f"kill -9 $(pgrep -P $(systemctl show -P MainPID {UNIT}))")
    engine.shell("for i in $(seq 60); do sleep 1; systemctl is-active --quiet " + UNIT + " && break; done; sleep 2")
    assert serving(engine)[1] != run


def test_a_reset_leaves_nothing(play: Callable[..., tuple[int, str]], engine: Console) -> None:
    code, said = play("reset", reset_cluster="lab", reset_data=True)
    assert code == 0, said
    left = "ls -d /etc/containers/systemd/hardened* /etc/systemd/system/hardened* /etc/hardened-vllm /var/lib/vllm /var/cache/vllm"
    left += " /var/lib/hardened-vllm/* /run/systemd/generator/hardened* 2>/dev/null || true"
    assert engine.shell(left) == ""
    assert engine.shell("podman ps --all --quiet; podman images --quiet") == ""
