# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of vLLM runs is known by its own name and command line; versions are read beside its interpreter."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import audit_processes


@pytest.mark.parametrize(
    ("name", "words", "kind"),
    [
        ("vllm", ["/usr/bin/python3", "/opt/venv/bin/vllm", "serve", "m"], "vllm"),
        ("vllm", ["vllm", "serve", "m"], "vllm"),
        ("python3", ["python3", "-m", "vllm.entrypoints.openai.api_server"], "vllm"),
        ("python", ["/v/bin/python", "-m", "vllm.entrypoints.cli.main", "serve", "m"], "vllm"),
        ("VLLM::EngineCor", ["VLLM::EngineCore"], "vllm-worker"),
        ("raylet", ["/x/ray/core/src/ray/raylet/raylet", "--port=1"], "ray"),
        ("gcs_server", ["/x/gcs_server"], "ray"),
        ("python", ["python", "/x/ray/dashboard/dashboard.py", "--host=0.0.0.0"], "ray-dashboard"),
        ("python", ["python", "-u", "/x/ray/_private/log_monitor.py"], "ray"),
        ("mooncake_master", ["mooncake_master", "--port", "1"], "mooncake"),
        ("lmcache_server", ["/usr/bin/python3", "/v/bin/lmcache_server"], "lmcache"),
        ("bash", ["bash", "-c", "vllm serve m"], None),
        ("vim", ["vim", "/opt/vllm"], None),
        ("python3", ["python3", "-c", "import vllm"], None),
        ("grep", ["grep", "vllm"], None),
        ("kworker/0:1", [], None),
    ],
)
def test_kinds(name: str, words: list[str], kind: str | None) -> None:
    assert audit_processes.kind_of(name, words) == kind


def test_units_and_containers() -> None:
    container = "0123456789abcdef" * 4
    assert audit_processes._belongs("0::/system.slice/llm.service\n") == ("llm.service", None)
    assert audit_processes._belongs(f"0::/system.slice/docker-{container}.scope\n") == (
        f"docker-{container}.scope",
        container,
    )
    assert audit_processes._belongs("0::/\n") == (None, None)


def test_versions_beside_the_interpreter(tmp_path: Path) -> None:
    process, prefix = tmp_path / "proc", "/opt/venv"
    packages = process / "root" / "opt/venv/lib/python3.11/site-packages"
    for name in ("vllm-0.32.0+cpu.dist-info", "torch-2.13.0.dist-info", "unknown-1.dist-info"):
        (packages / name).mkdir(parents=True)
    (process / "maps").write_text("")
    (process / "exe").symlink_to("/usr/bin/python3")
    found = audit_processes.versions(str(process), [f"{prefix}/bin/python", f"{prefix}/bin/vllm", "serve"])
    assert found == {"vllm": "0.32.0+cpu", "torch": "2.13.0"}


def test_a_worker_is_known_by_its_parent() -> None:
    def made(pid: int, parent: int, words: list[str]) -> audit_processes.Process:
        return audit_processes.Process(pid, parent, "python", words, 0, 0, None, None, None, None)

    spawned = ["python", "-c", "from multiprocessing.spawn import spawn_main"]
    processes = {
        1: made(1, 0, ["init"]),
        2: made(2, 1, ["python", "-m", "vllm.x"]),
        3: made(3, 2, spawned),
        4: made(4, 1, spawned),
    }
    audit_processes._name_kinds(processes)
    assert [processes[pid].kind for pid in (1, 2, 3, 4)] == [None, "vllm", "vllm-worker", None]


def test_this_process_is_in_the_table() -> None:
    own = audit_processes.table("/proc")[os.getpid()]
    assert own.uid == os.geteuid()
    assert own.words
    assert own.parent == os.getppid()
