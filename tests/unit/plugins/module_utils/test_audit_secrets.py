# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets in command lines, environments and texts become digests; everything else stays as it is."""

from __future__ import annotations

import hashlib

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import audit_secrets

KEY = "sk-0123456789abcdef"
DIGEST = "sha256:" + hashlib.sha256(KEY.encode()).hexdigest()


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--api-key", KEY], ["--api-key", DIGEST]),
        (["--api-key", KEY, KEY, "--port", "1"], ["--api-key", DIGEST, DIGEST, "--port", "1"]),
        ([f"--api-key={KEY}"], [f"--api-key={DIGEST}"]),
        (["--hf-token", KEY], ["--hf-token", DIGEST]),
        (["sh", "-c", f"vllm serve m --api-key {KEY}"], ["sh", "-c", f"vllm serve m --api-key {DIGEST}"]),
        ([f"VLLM_API_KEY={KEY}", "vllm"], [f"VLLM_API_KEY={DIGEST}", "vllm"]),
        ([f'{{"auth_token": "{KEY}"}}'], [f'{{"auth_token": "{DIGEST}"}}']),
        ([f"redis://user:{KEY}@host"], [f"redis://{audit_secrets.digest('user:' + KEY)}@host"]),
        (["--ssl-keyfile", "/etc/tls.key"], ["--ssl-keyfile", "/etc/tls.key"]),
        (["--max-num-batched-tokens", "4096"], ["--max-num-batched-tokens", "4096"]),
        (["--tokenizer", "org/model"], ["--tokenizer", "org/model"]),
    ],
)
def test_a_command_line(words: list[str], shown: list[str]) -> None:
    assert audit_secrets.argv(words) == shown


def test_an_environment() -> None:
    given = {
        "VLLM_API_KEY": KEY,
        "HF_TOKEN": "",
        "VLLM_PORT": "1",
        "DATABASE": KEY,
        "RAY_AUTH_MODE": "token",
        "AWS_ACCESS_KEY_ID": KEY,
    }
    assert audit_secrets.environment(given) == {
        "AWS_ACCESS_KEY_ID": DIGEST,
        "DATABASE": None,
        "HF_TOKEN": "",
        "RAY_AUTH_MODE": "token",
        "VLLM_API_KEY": DIGEST,
        "VLLM_PORT": "1",
    }


def test_texts_of_units_and_proxies() -> None:
    text = f'Environment="HF_TOKEN={KEY}" A=1\nproxy_set_header Authorization "Bearer {KEY}";\nEnvironment=VLLM_API_KEY={KEY}'
    shown = audit_secrets.text(text)
    assert KEY not in shown
    assert shown.count(DIGEST) == 3
    assert KEY not in audit_secrets.text(f"vllm serve m --enforce-eager --api-key {KEY} --port 1")
    assert audit_secrets.text(shown) == shown


@pytest.mark.parametrize(
    "line",
    ["a" * 300_000, "-" * 300_000, "key" * 100_000, '"' + "key" * 100_000, "a://" * 75_000, 'key="' * 60_000],
    ids=["letters", "dashes", "names", "quoted names", "schemes", "quotes"],
)
def test_a_line_made_to_be_slow_is_read_once(line: str) -> None:
    """Whoever may write to the journal must not hold an audit or a quarantine up; in square time this would take minutes."""
    hidden = audit_secrets.text(f"{line}\nAPI_KEY=hunter2\n")
    assert hidden.endswith(f"\nAPI_KEY={audit_secrets.digest('hunter2')}\n")


def test_a_login_is_hidden_whatever_the_scheme_begins_with() -> None:
    for scheme in ("http", "1http", "x+http"):
        assert audit_secrets.text(f"{scheme}://me:hunter2@h/") == f"{scheme}://{audit_secrets.digest('me:hunter2')}@h/"
