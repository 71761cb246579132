# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the scenario's tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# pytest imports tests by file (importlib mode): a module beside them has to be found as well.
sys.path.insert(0, str(Path(__file__).parent))

from engine_lab import ROOT, Engine  # only found after the line above
from lab.testing import Console  # as above


@pytest.fixture(scope="session")
def engine(console: Callable[[str], Console]) -> Engine:
    key_file = ROOT / ".lab" / "engine" / "secrets" / "upstream.key"
    return Engine(console("engine1").shell, console("client").run, key_file)
