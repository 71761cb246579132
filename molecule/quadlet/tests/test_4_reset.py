# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reset leaves of an engine whose vLLM is a container image: nothing."""

from __future__ import annotations

from collections.abc import Callable

from lab.testing import Console


def test_a_reset_leaves_nothing(play: Callable[..., tuple[int, str]], engine: Console) -> None:
    code, said = play("reset", reset_cluster="lab", reset_data=True)
    assert code == 0, said
    left = "ls -d /etc/containers/systemd/hardened* /etc/systemd/system/hardened* /etc/hardened-vllm /var/lib/vllm /var/cache/vllm"
    left += " /var/lib/hardened-vllm/* /run/systemd/generator/hardened* 2>/dev/null || true"
    assert engine.shell(left) == ""
    assert engine.shell("podman ps --all --quiet; podman images --quiet") == ""
