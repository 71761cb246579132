# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No secret is anywhere but in its file: not in arguments, environments, units, journals, differences or dumps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lab.testing import Console

from .conftest import LAB, UNIT, play

NODES = ("engine1", "engine2", "gateway")
PLACES = [
    "cat /proc/[0-9]*/cmdline | tr '\\0' ' '",
    "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' '",
    "systemctl show '*'",
    "cat /etc/systemd/system/*.service",
    "journalctl --no-pager",
    "find /tmp /var/tmp /root -xdev -type f -size -1M -exec cat {} +",
    "coredumpctl list 2>/dev/null || true",
]


@pytest.mark.parametrize("name", NODES)
def test_no_secret_is_where_others_look(name: str, console: Callable[[str], Console], secrets: dict[str, str]) -> None:
    assert len(secrets) == 2
    for place in PLACES:
        text = console(name).shell(place)
        for file, secret in secrets.items():
            assert secret not in text, f"{file} in {place} on {name}"


def test_the_key_is_where_it_belongs_and_guarded(console: Callable[[str], Console], secrets: dict[str, str]) -> None:
    """The test above can fail: the same look finds the key in the one file that holds it."""
    engine, gateway = console("engine1"), console("gateway")
    place = "/etc/hardened-vllm/engine/secrets.yaml"
    assert secrets["secrets/upstream.key"] in engine.shell(f"cat {place}")
    assert engine.shell(f"stat -c %a:%U:%G {place}").strip() == "640:root:vllm"
    assert not [
        name
        for name, secret in secrets.items()
        if "tenants" in name and secret in gateway.shell("cat /etc/hardened-vllm/gateway/*")
    ]
    with pytest.raises(pytest.fail.Exception):
        engine.run("runuser", "-u", "nobody", "--", "cat", place)


def test_check_mode_and_differences_show_no_secret(secrets: dict[str, str]) -> None:
    first = (LAB / "check.log").read_text()
    assert "failed=0" in first
    assert "+++ after" in first
    again = play("site", "--check", "--diff", "-vvv")
    assert again.code == 0, again.text
    for file, secret in secrets.items():
        assert secret not in first, file
        assert secret not in again.text, file


def test_the_service_user_is_confined(head: Console) -> None:
    score = head.shell(f"systemd-analyze security {UNIT} | tail -n 1")
    assert float(score.split(":")[1].split()[0]) <= 2.0
