# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible as a user runs it: the collection built, installed and called by its full name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collections path that holds the built collection and nothing else."""
    place = tmp_path_factory.mktemp("collections")
    build = ["ansible-galaxy", "collection", "build", "--output-path", str(place), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, text=True, cwd=place)
    (tarball,) = place.glob("hardened-vllm-*.tar.gz")
    install = ["ansible-galaxy", "collection", "install", "--offline", "-p", str(place), str(tarball)]
    subprocess.run(install, check=True, capture_output=True, text=True, cwd=place)
    return place


@pytest.fixture
def ansible(installed: Path, tmp_path: Path) -> Run:
    """Call an ansible program away from the checkout, with the installed collection."""

    def run(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
        own = {
            "ANSIBLE_COLLECTIONS_PATH": str(installed),
            "ANSIBLE_INJECT_FACT_VARS": "false",
            "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "false",
        }
        return subprocess.run(
            argv,
            cwd=tmp_path,
            env={**os.environ, **own, **environment},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    return run
