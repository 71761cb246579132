# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release of a few lines, to be broken by the tests."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest
from ansible_collections.hardened.vllm.tools.catalogue.library import Library

Make = Callable[..., Library]


@pytest.fixture
def library() -> Make:
    """Return a function that makes a library of files given as ``name__with__slashes="source"``."""

    def make(**sources: str) -> Library:
        return Library({f"vllm/{name.replace('__', '/')}.py": textwrap.dedent(text) for name, text in sources.items()})

    return make
