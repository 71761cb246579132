# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests that install for real need: a place other users can read, and a systemd that runs programs at once."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "support"))
import standin_systemd  # only found after the line above


@pytest.fixture(scope="module")
def without_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Programs run at once, without a network, as those of a unit that may call nobody."""
    folder = tmp_path_factory.mktemp("systemd")
    standin_systemd.write(folder, standin_systemd.NO_NETWORK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        yield


@pytest.fixture(scope="module")
def public() -> Iterator[Path]:
    """A directory that every user can read, which pytest's own are not."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="hardened-vllm-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
