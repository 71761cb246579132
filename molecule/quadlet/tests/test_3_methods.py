# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's node goes from an image to an interpreter of its own and back: one unit, one owner of the port, nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from lab.testing import Console, wait_for

from .conftest import UNIT, serving

GENERATED = f"/run/systemd/generator/{UNIT}"
OWN = f"/etc/systemd/system/{UNIT}"
API = "http://10.233.61.11:8000"
ASK = f"""key=$(sed -n 's/^api-key: "\\(.*\\)"$/\\1/p' /etc/hardened-vllm/engine/secrets.yaml)
curl -s -o /dev/null -w '%{{http_code}}' --max-time 60 -H "Authorization: Bearer $key" -H 'Content-Type: application/json' \\
    -d '{{"model": "tiny", "prompt": "Hello, who is there?", "max_tokens": 1}}' {API}/v1/completions"""
# What systemd would start at the next boot; the generator runs anew then.
AT_BOOT = (
    "systemctl daemon-reload; systemctl list-dependencies --plain multi-user.target | grep -c hardened-vllm-engine"
)
ENABLED = "find /etc/systemd/system /run/systemd/generator* -path '*.wants/*' -name 'hardened-vllm-engine*' 2>/dev/null || true"
PORT = "ss -Hltnp 'sport = :8000' | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u | while read p; do cat /proc/$p/cgroup; done"


@dataclass(frozen=True)
class Standing:
    """How the engine stands: the file of its unit, its links to start at boot, units that would, who owns the port, containers, an answer."""

    unit: str
    links: list[str]
    at_boot: int
    owners: set[str]
    containers: int
    answer: str


def standing(engine: Console) -> Standing:
    at_boot = int(engine.shell(AT_BOOT))
    groups = {line.split(":")[2] for line in engine.shell(PORT).splitlines() if line.startswith("0:")}
    return Standing(
        unit=engine.shell(f"systemctl show -P FragmentPath {UNIT}").strip(),
        links=engine.shell(ENABLED).split(),
        at_boot=at_boot,
        owners={part for group in groups for part in group.split("/") if part.endswith(".service")},
        containers=len(engine.run("podman", "ps", "--all", "--quiet").split()),
        answer=engine.shell(ASK),
    )


OF_IMAGE = Standing(GENERATED, ["/run/systemd/generator/multi-user.target.wants/" + UNIT], 1, {UNIT}, 1, "200")
OF_ITS_OWN = Standing(OWN, ["/etc/systemd/system/multi-user.target.wants/" + UNIT], 1, {UNIT}, 0, "200")


@pytest.fixture(scope="module")
def interpreter(engine: Console) -> None:
    """The Python that the mounted environment is of, which this Debian has not: that of the image, with the library vLLM wants."""
    image = engine.shell(f"podman inspect --format '{{{{.Image}}}}' {UNIT.removesuffix('.service')}").strip()
    script = f"""made=$(podman create {image})
for path in /usr/bin/python3.11 /usr/lib/python3.11; do podman cp "$made:$path" "$path"; done
library=$(podman run --rm --network=none --entrypoint=/bin/sh {image} -c 'readlink -f /usr/lib/*/libnuma.so.1')
podman cp "$made:$library" "$(dirname $library)/libnuma.so.1"
podman rm "$made"
/opt/vllm-lab/bin/python -c 'import ssl, ctypes, sqlite3'"""
    engine.shell(script)


@pytest.mark.usefixtures("interpreter")
def test_from_an_image_to_an_interpreter(upgrade: Callable[..., tuple[int, str]], engine: Console) -> None:
    # A former test has killed it.
    wait_for(lambda: engine.start("sh", "-ec", ASK).stdout == "200", 180, "the engine does not answer")
    assert standing(engine) == OF_IMAGE
    code, said = upgrade("works", method="existing")
    assert code == 0, said
    assert standing(engine) == OF_ITS_OWN
    assert "No such file" in engine.shell("ls /etc/containers/systemd/hardened-vllm-engine.container 2>&1 || true")


def test_an_image_that_does_not_start_leaves_the_interpreter_serving(
    upgrade: Callable[..., tuple[int, str]], engine: Console
) -> None:
    code, said = upgrade("broken")
    assert code != 0
    assert "this image is broken" in said
    assert "The former state is back on all its nodes and generates again" in said
    assert standing(engine) == OF_ITS_OWN


def test_and_back_to_the_image(upgrade: Callable[..., tuple[int, str]], engine: Console) -> None:
    code, said = upgrade("works")
    assert code == 0, said
    assert standing(engine) == OF_IMAGE
    assert serving(engine)[0] == "works"
    assert "No such file" in engine.shell(f"ls {OWN} /etc/hardened-vllm/engine/engine.env 2>&1 || true")
