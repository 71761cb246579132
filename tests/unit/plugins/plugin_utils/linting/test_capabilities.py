# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Capabilities in every way an artefact gives them."""

from __future__ import annotations

import pytest

from .conftest import ruled

RULES = {"capabilities", "capability-ptrace"}
IMAGE = "vllm/vllm-openai:v0.32.0"
WAYS = {
    "compose": "services: {vllm: {image: vllm/vllm-openai:v0.32.0, cap_add: [NAME]}}",
    "kubernetes": f"""\
apiVersion: v1
kind: Pod
metadata: {{name: vllm}}
spec:
  containers:
    - {{name: vllm, image: {IMAGE}, securityContext: {{capabilities: {{add: [NAME]}}}}}}
""",
    "script": f"podman run --cap-add NAME {IMAGE} --model /m",
    "quadlet": f"[Container]\nImage={IMAGE}\nExec=--model /m\nAddCapability=CHOWN NAME\n",
    "systemd": "[Service]\nUser=vllm\nExecStart=/usr/bin/vllm serve /m\nAmbientCapabilities=CAP_IPC_LOCK NAME\n",
}


@pytest.mark.parametrize("kind", WAYS)
@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("SYS_PTRACE", {"capability-ptrace"}),
        ("CAP_SYS_PTRACE", {"capability-ptrace"}),
        ("cap_sys_ptrace", {"capability-ptrace"}),
        ("SYS_ADMIN", {"capabilities"}),
        ("CAP_DAC_READ_SEARCH", {"capabilities"}),
        ("IPC_LOCK", set()),
    ],
)
def test_every_way(kind: str, name: str, rules: set[str]) -> None:
    assert set(ruled(WAYS[kind].replace("NAME", name), kind)) & RULES == rules


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        ("CapabilityBoundingSet=CAP_SYS_PTRACE", {"capability-ptrace"}),
        ("CapabilityBoundingSet=~CAP_SYS_PTRACE", set()),
        ("CapabilityBoundingSet=", set()),
    ],
)
def test_the_bounds_of_a_unit(line: str, rules: set[str]) -> None:
    text = f"[Service]\nExecStart=/usr/bin/vllm serve /m\n{line}\n"
    assert set(ruled(text, "systemd")) & RULES == rules


@pytest.mark.parametrize("words", ["--cap-add=SYS_PTRACE", "--cap-add IPC_LOCK,SYS_PTRACE", "--cap-add CAP_SYS_PTRACE"])
def test_options_of_docker_and_podman(words: str) -> None:
    assert "capability-ptrace" in ruled(f"docker run {words} {IMAGE} --model /m", "script")
    quadlet = f"[Container]\nImage={IMAGE}\nExec=--model /m\nPodmanArgs={words}\n"
    assert "capability-ptrace" in ruled(quadlet, "quadlet")
