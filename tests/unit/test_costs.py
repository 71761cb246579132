# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of costs: a benchmark writes its own section and no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import costs

PAGE = "# Costs\n\nWords.\n\n## One\n\n1\n\n### Part\n\n2\n\n## Two\n\n3\n"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "costs.md").write_text(PAGE)
    return tmp_path / "costs.md"


def test_a_section_takes_the_place_of_its_former_self(page: Path) -> None:
    costs.keep(page, "\n## One\n\nnew\n\n")
    assert page.read_text() == "# Costs\n\nWords.\n\n## One\n\nnew\n\n## Two\n\n3\n"
    costs.keep(page, "## One\n\nnew")
    assert page.read_text() == "# Costs\n\nWords.\n\n## One\n\nnew\n\n## Two\n\n3\n"


def test_a_new_section_comes_last(page: Path) -> None:
    costs.keep(page, "## Three\n\n4")
    assert page.read_text() == PAGE + "\n## Three\n\n4\n"


def test_a_page_that_is_not_there_is_begun(tmp_path: Path) -> None:
    """What took minutes to measure is not lost over the name of a file."""
    costs.keep(tmp_path / "new.md", "## One\n\n1")
    assert (tmp_path / "new.md").read_text() == "## One\n\n1\n"


def test_of_two_of_the_same_name_one_stays(page: Path) -> None:
    page.write_text(PAGE + "\n## One\n\nlate\n")
    costs.keep(page, "## One\n\nnew")
    assert page.read_text() == "# Costs\n\nWords.\n\n## One\n\nnew\n\n## Two\n\n3\n"


def test_what_is_no_section_is_refused(page: Path) -> None:
    with pytest.raises(ValueError, match="second level"):
        costs.keep(page, "### Part\n\n4")
    assert page.read_text() == PAGE
