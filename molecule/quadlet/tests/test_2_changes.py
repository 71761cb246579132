# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another image comes from its registry or an archive beside what serves, and one that is not as declared, or does not start, does not."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import vllm_image
from lab.testing import Console
from operations import runbooks

from .conftest import SCENARIO, UNIT, serving

REPOSITORY = "registry.example.org:5000/vllm/vllm-cpu"
NOBODY = "198.51.100.1"


@pytest.fixture(scope="module")
def archive(lab_inventory: Path) -> Iterator[Path]:
    file = lab_inventory.parents[1] / "image.tar"
    vllm_image.archive("next", file)
    yield file
    file.unlink()


@pytest.fixture(scope="module")
def digests() -> dict[str, str]:
    """The digests of the images the registry has, by name."""
    found: dict[str, str] = json.loads((vllm_image.DIRECTORY / "images.json").read_text())
    return found


@pytest.fixture(scope="module")
def secrets(lab_inventory: Path) -> Path:
    return lab_inventory.parents[1] / "secrets"


@pytest.fixture(scope="module")
def operators(lab_inventory: Path, digests: dict[str, str]) -> Path:
    """An inventory of the operator's own, which the runbook changes; it declares the image ``next``."""
    own = lab_inventory.parents[1] / "runbooks"
    (own / "group_vars").mkdir(parents=True, exist_ok=True)
    shutil.copy(lab_inventory, own / "hosts.yml")
    declared = (SCENARIO / "group_vars/all.yml").read_text(encoding="utf-8")
    line = re.compile(r"^    image: .*$", re.MULTILINE)
    assert len(line.findall(declared)) == 1
    image = f"    image: {REPOSITORY}@{digests['next']}"
    (own / "group_vars" / "all.yml").write_text(line.sub(image, declared), encoding="utf-8")
    return own


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
def test_a_rollback_to_an_image_that_is_not_there_changes_nothing(
    play: Callable[..., tuple[int, str]], engine: Console, digests: dict[str, str]
) -> None:
    before = serving(engine), images(engine)
    absent = f"{REPOSITORY}@sha256:{'0' * 64}"
    code, said = play("rollback", rollback_image=absent, upgrade_downtime_ok=True)
    assert code != 0
    assert f"podman has no {absent}, and pulling was not allowed. Nothing was changed. Images there: " in said
    assert f"{REPOSITORY}@{digests['works']}" in said
    code, said = play("rollback", rollback_image=f"{REPOSITORY}@{digests['works']}", rollback_release="0.31.0")
    assert code != 0
    assert "holds vllm 0.32.0+cpu, expected 0.31.0" in said
    code, said = play("rollback", rollback_image=f"{REPOSITORY}:works")
    assert code != 0
    assert "expected an image that is on the nodes, NAME@sha256: and 64 digits" in said
    assert (serving(engine), images(engine)) == before


@pytest.mark.usefixtures("silent_registry")
def test_the_runbook_brings_a_former_image_back_without_a_pull(
    engine: Console, digests: dict[str, str], operators: Path, secrets: Path
) -> None:
    """The declaration still names the image that serves; the page has the operator change it."""
    image = f"{REPOSITORY}@{digests['works']}"
    said = "".join(
        runbooks.run(script, operators, secrets, IMAGE=image)
        for script in runbooks.blocks("rollback")["A container image"]
    )
    assert f"{image} serves. Set install.image: {image} in vllm_cluster" in re.sub(r"\s+", " ", said)
    assert serving(engine)[0] == "works"


def test_an_engine_that_dies_comes_back(engine: Console) -> None:
    _, run = serving(engine)
    engine.shell(f"kill -9 $(pgrep -P $(systemctl show -P MainPID {UNIT}))")
    engine.shell("for i in $(seq 60); do sleep 1; systemctl is-active --quiet " + UNIT + " && break; done; sleep 2")
    assert serving(engine)[1] != run
