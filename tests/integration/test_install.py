# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The built collection holds meta, plugins, roles and playbooks, and works with nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import ROOT, Run


def test_only_what_is_needed_is_installed(installed: Path) -> None:
    top = {path.name for path in (installed / "ansible_collections/hardened/vllm").iterdir()}
    assert {"meta", "plugins", "roles", "playbooks", "README.md", "LICENSE"} <= top
    assert top <= {
        "meta",
        "plugins",
        "roles",
        "playbooks",
        "docs",
        "README.md",
        "LICENSE",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "CHANGELOG.rst",
        "MANIFEST.json",
        "FILES.json",
    }


def test_every_playbook_parses_by_its_full_name(ansible: Run) -> None:
    for playbook in sorted((ROOT / "playbooks").glob("*.yml")):
        done = ansible("ansible-playbook", "--syntax-check", "-i", "localhost,", f"hardened.vllm.{playbook.stem}")
        assert done.returncode == 0, done.stderr


def test_every_plugin_is_documented(ansible: Run) -> None:
    for kind in ("filter", "module"):
        folder = ROOT / "plugins" / ("modules" if kind == "module" else kind)
        names = [f"hardened.vllm.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"]
        done = ansible("ansible-doc", "--json", "-t", kind, *names)
        assert done.returncode == 0, done.stderr
        documented = json.loads(done.stdout)
        for name in names:
            assert documented[name]["doc"]["short_description"], name
            assert documented[name]["examples"], name
            assert documented[name]["return"], name
