# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module files as a program of its own, the way Ansible does, on a temporary directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.modules import files as module_under_test

ME = {"owner": str(os.geteuid()), "group": str(os.getegid())}


class FilesNode:
    """A directory that plays the node, and the module run against it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "state"

    def path(self, name: str) -> str:
        return str(self.root / name)

    def at(self, name: str) -> Path:
        return self.root / name

    def directory(self, name: str, **more: Any) -> dict[str, Any]:
        return {"path": self.path(name), **ME, **more}

    def file(self, name: str, content: str, **more: Any) -> dict[str, Any]:
        return {"path": self.path(name), "content": content, **ME, **more}

    def sh(self, script: str, **more: Any) -> dict[str, Any]:
        return {"argv": ["sh", "-c", script], **more}

    def hanging(self) -> dict[str, Any]:
        """A check that says that it runs, and hangs until the file `go` exists."""
        return self.sh(f"test -e {self.path('go')} || {{ touch {self.path('checking')}; exec sleep 30; }}")

    def start(self, check_mode: bool = False, **args: Any) -> subprocess.Popen[str]:
        arguments = {
            **args,
            "state_directory": str(self.state),
            "_ansible_diff": True,
            "_ansible_check_mode": check_mode,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", module_under_test.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        process.stdin.close()
        process.stdin = None
        return process

    def start_and_wait(self, **args: Any) -> subprocess.Popen[str]:
        """Start a run and return once its hanging check has begun."""
        process = self.start(**args)
        deadline = time.monotonic() + 30
        while not self.at("checking").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        return process

    def finish(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in out + err, out + err
        assert out, err
        result: dict[str, Any] = json.loads(out)
        return result

    def run(self, check_mode: bool = False, **args: Any) -> dict[str, Any]:
        return self.finish(self.start(check_mode, **args))

    def names(self) -> list[str]:
        return sorted(str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.name != "state")


@pytest.fixture
def node(tmp_path: Path) -> FilesNode:
    return FilesNode(tmp_path)
