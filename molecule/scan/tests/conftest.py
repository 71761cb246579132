# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the scans of this scenario share: the tenant's key, the document of vLLM's routes, the gateway's log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.testing import Console
from scan.support import LAB, ROOT

WRITE_DOCUMENT = (ROOT / "molecule/scan/files/openapi.py").read_text()


@pytest.fixture(scope="session")
def key() -> str:
    return (LAB / "secrets/tenants/acme/k1.key").read_text().strip()


@pytest.fixture(scope="session")
def document(console: Callable[[str], Console], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The OpenAPI document of the release that serves, written by its own code; the service itself shows none."""
    text = console("engine1").run("/opt/vllm-lab/bin/python", "-", given=WRITE_DOCUMENT)
    file = tmp_path_factory.mktemp("openapi") / "openapi.json"
    file.write_text(text[text.index("{") :])
    return file


@pytest.fixture
def gateway(console: Callable[[str], Console]) -> Console:
    return console("gateway")


@pytest.fixture
def log(gateway: Console) -> Callable[[], list[dict[str, Any]]]:
    """What the gateway has logged since the test began."""
    file = "/var/log/hardened-vllm-gateway/access.log"
    lines = int(gateway.shell(f"wc -l < {file}"))
    return lambda: [json.loads(line) for line in gateway.shell(f"tail -n +{lines + 1} {file}").splitlines()]


@pytest.fixture
def journal(console: Callable[[str], Console]) -> Callable[[], str]:
    """What the engine has logged since the test began."""
    engine = console("engine1")
    unit = "--unit=hardened-vllm-engine"
    cursor = engine.run("journalctl", unit, "--lines=0", "--show-cursor").split("cursor: ")[1].strip()
    return lambda: engine.run("journalctl", unit, "--output=cat", "--no-pager", f"--after-cursor={cursor}")
