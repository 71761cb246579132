# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every role keeps: defaults equal to argument_specs, prefixed names and tags, a page of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_are_the_argument_specs(role: Path) -> None:
    defaults = load(role / "defaults/main.yml") or {}
    options = load(role / "meta/argument_specs.yml")["argument_specs"]["main"].get("options", {})
    assert sorted(defaults) == sorted(options)
    for name, value in defaults.items():
        assert name.startswith(f"{role.name}_")
        assert options[name]["description"]
        if not (isinstance(value, str) and "{{" in value):
            assert options[name].get("default") == value, name


def texts(value: Any) -> list[str]:
    """Return every text in data of YAML."""
    if isinstance(value, dict):
        return [text for part in value.values() for text in texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts(part)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("place", ["roles", "playbooks"])
def test_what_a_pattern_found_is_spelled_with_one_backslash(place: str) -> None:
    r"""In a block of YAML two stay two, and the text ``\1`` is put in where the group was meant."""
    files = [path for path in (ROOT / place).rglob("*.yml") if "files" not in path.parts]
    found = [text for path in files for text in texts(load(path)) if re.search(r"\\\\\d", text)]
    assert len(files) > 10 and found == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_task_has_a_tag_of_its_role(role: Path) -> None:
    for task in load(role / "tasks/main.yml"):
        tags = task.get("tags", [])
        assert any(tag == "always" or tag.split("_")[0] == role.name for tag in tags), task["name"]
        assert not any(tag != "always" and not tag.startswith(role.name) for tag in tags), task["name"]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_variable_is_on_the_page_of_its_role(role: Path) -> None:
    page = (role / "README.md").read_text(encoding="utf-8")
    for name in load(role / "defaults/main.yml") or {}:
        assert f"`{name}`" in page


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_role_has_a_scenario(role: Path) -> None:
    assert (ROOT / "molecule" / role.name / "molecule.yml").is_file()
