# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every runbook is followed by the scenario operations or says why not, and is listed; the scenario checks that each block ran."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from operations import runbooks

ROOT = Path(__file__).resolve().parents[2]
PAGES = [page for page in runbooks.pages() if page not in runbooks.NOT_RUN]
INSTALLS = {"engine": "defaults/main.yml", "isolation": "tasks/main.yml", "gateway": "vars/main.yml"}
TESTS = (ROOT / "molecule/operations/tests/test_runbooks.py").read_text(encoding="utf-8")


def test_there_are_runbooks() -> None:
    assert len(PAGES) >= 13
    assert all(runbooks.NOT_RUN.values()) and set(runbooks.NOT_RUN) <= set(runbooks.pages())


@pytest.mark.parametrize("page", PAGES)
def test_it_is_followed_and_listed(page: str) -> None:
    assert f'follow("{page}"' in TESTS
    assert f"({page}.md)" in (runbooks.FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_it_has_its_sections_and_commands(page: str) -> None:
    found = runbooks.blocks(page)
    assert all(found[section] for section in ("Check", "Action", "Verify"))


@pytest.mark.parametrize(("page", "section"), runbooks.ELSEWHERE)
def test_a_further_section_is_followed_by_its_scenario(page: str, section: str) -> None:
    assert runbooks.blocks(page)[section]
    tests = (ROOT / "molecule" / runbooks.ELSEWHERE[page, section] / "tests").glob("test_*.py")
    assert any(f'runbooks.blocks("{page}")["{section}"]' in test.read_text(encoding="utf-8") for test in tests)


@pytest.mark.parametrize("page", PAGES)
def test_it_names_playbooks_and_pages_that_exist(page: str) -> None:
    text = (runbooks.FOLDER / f"{page}.md").read_text(encoding="utf-8")
    for name in re.findall(r"hardened\.vllm\.([a-z_]+)", text):
        assert (ROOT / f"playbooks/{name}.yml").is_file(), name
    for name in re.findall(r"\]\(([a-z-]+)\.md\)", text):
        assert name in PAGES, name


def test_the_reset_names_every_package_that_stays() -> None:
    """What the roles install where it is missing; a reset leaves it and has to say so."""
    roles = {name: (ROOT / "roles" / name / place).read_text(encoding="utf-8") for name, place in INSTALLS.items()}
    installed = {
        "engine": r"(?m)^engine_packages:\n((?:  - .+\n)+)",
        "isolation": r"(?s)apt:\n(.*?)update_cache",
        "gateway": r"(?s)__gateway_packages: >-\n(.*?)\n__",
    }
    found = {
        name
        for role, pattern in installed.items()
        for name in re.findall(r"(?:'|- |name: )([a-z0-9-]+)", "".join(re.findall(pattern, roles[role])))
    }
    text = (runbooks.FOLDER / "reset.md").read_text(encoding="utf-8")
    named = re.search(r"cannot\ntell: (.*?)\.", text, re.DOTALL)
    assert named is not None and found == set(re.findall(r"`([a-z0-9-]+)`", named[1]))
    masked = re.findall(
        r"name: ([a-z]+\.service)\n    masked: true",
        (ROOT / "roles/gateway/tasks/install.yml").read_text(encoding="utf-8"),
    )
    assert masked and all(f"`{unit}`" in text for unit in masked)


def test_a_page_made_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runbooks, "FOLDER", tmp_path)
    (tmp_path / "x.md").write_text("# X\n\n**Symptom.** y\n\n## Check\n```sh\ntrue\n```\n")
    with pytest.raises(runbooks.RunbookError, match="x: expected a symptom and the sections"):
        runbooks.blocks("x")


@pytest.mark.parametrize("script", ["false\ntrue", "false | true", "echo $UNSET_VARIABLE"])
def test_a_command_that_fails_ends_its_block(script: str) -> None:
    with pytest.raises(runbooks.RunbookError, match="exit code"):
        runbooks.run(script, Path("/"), Path("/"))
