# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The vLLM that is asked: any release of the catalogue in HARDENED_VLLM_PYTHON, else the lab's."""

from __future__ import annotations

import datetime
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue

ROOT = Path(__file__).resolve().parents[3]
TODAY = datetime.date(2026, 11, 23)


def _choice(variable: str, lab: str) -> str | None:
    path = ROOT / lab
    return os.environ.get(variable) or (str(path) if path.exists() else None)


PYTHON = _choice("HARDENED_VLLM_PYTHON", ".lab/vllm/env/bin/python")
MODEL = _choice("HARDENED_VLLM_MODEL", ".lab/models/tiny")
needs_vllm = pytest.mark.skipif(PYTHON is None, reason="no Python with vLLM at hand: set HARDENED_VLLM_PYTHON")


def of(release: str) -> dict[str, Any]:
    """What makes a declaration one of ``release``: old ones have advisories, which is not what is asked here."""
    waiver = {"rule": "release-old", "reason": "only its parser is asked", "owner": "tests", "expires": "2027-01-01"}
    return {"release": release, "waivers": [waiver]}


@pytest.fixture(scope="session")
def release() -> str:
    """The release of the vLLM that is asked."""
    script = "import vllm; print(vllm.__version__)"
    said = subprocess.run([str(PYTHON), "-c", script], capture_output=True, text=True, check=True).stdout
    found = said.split()[-1].split("+")[0]
    assert found in catalogue.releases(), f"the catalogue does not know {found}"
    return found
