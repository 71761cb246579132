# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of this scenario: an operator's own inventory, runbooks as they are followed, load."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from lab.paths import CHECKOUT
from lab.testing import Console
from lifecycle import support
from operations import runbooks

EDGE = "10.230.3.20"


@pytest.fixture(scope="session")
def directory(lab_inventory: Path) -> Path:
    """The lab's directory on the controller."""
    return lab_inventory.parents[1]


@pytest.fixture(scope="session")
def secrets(directory: Path) -> Path:
    return directory / "secrets"


@pytest.fixture(scope="session")
def inventory(directory: Path, lab_inventory: Path) -> Path:
    """An inventory of the operator's own, which the runbooks change; its certificate lies in it."""
    own = directory / "runbooks"
    (own / "group_vars").mkdir(parents=True, exist_ok=True)
    told = yaml.safe_load(lab_inventory.read_text(encoding="utf-8"))
    tls = told["all"]["vars"]["lab"]["tls"]
    for what in ("certificate", "key"):
        shutil.copy(tls[what], own / f"tls.{what}.pem")
        tls[what] = str(own / f"tls.{what}.pem")
    (own / "hosts.yml").write_text(yaml.safe_dump(told), encoding="utf-8")
    shutil.copy(CHECKOUT / "molecule/operations/group_vars/all.yml", own / "group_vars" / "all.yml")
    return own


@pytest.fixture(scope="session")
def followed() -> set[tuple[str, str]]:
    """Page and section of what was run."""
    return set()


@pytest.fixture
def follow(inventory: Path, secrets: Path, followed: set[tuple[str, str]]) -> Callable[..., str]:
    """A function that runs the commands of a page as they stand, all sections or those named; returns what they say."""

    def run(page: str, *sections: str) -> str:
        said = ""
        for section, scripts in runbooks.blocks(page).items():
            if (page, section) not in runbooks.ELSEWHERE and (not sections or section in sections):
                for script in scripts:
                    said += runbooks.run(script, inventory, secrets)
                followed.add((page, section))
        return said

    return run


@pytest.fixture
def standing(console: Callable[[str], Console]) -> Callable[[], list[support.Standing]]:
    """A function that returns how the two engines stand."""
    return lambda: [support.stand(console(name)) for name in ("engine1", "engine2")]


@pytest.fixture
def load(console: Callable[[str], Console], secrets: Path) -> support.Load:
    """Requests and streams for as long as a block runs; the dict it gives holds the ledger afterwards."""
    return lambda: support.load(console("observer"), EDGE, (secrets / "tenants/acme/k1.key").read_text())
