# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for tenants and their keys, which must never be mistaken for one another."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from typing import Any

from ..problems import Problem, Severity, shown
from .kinds import Report

EMPTY_DIGEST = hashlib.sha256(b"").hexdigest()
# How long before its end a key is worth a warning.
SOON = datetime.timedelta(days=14)


def check_tenants(tenants: list[Mapping[str, Any]], today: datetime.date, report: Report) -> None:
    """Refuse tenants that could be mistaken for each other, and keys that are none; warn of keys that end."""
    seen: dict[str, str] = {}
    digests: dict[str, str] = {}
    for position, tenant in enumerate(tenants):
        path = f"vllm_cluster.tenants[{position}]"
        if tenant["name"] in seen:
            report(
                Problem(
                    f"{path}.name",
                    "tenant-name-shared",
                    shown(tenant["name"]),
                    "a name no other tenant has",
                    f"It is also the name of {seen[tenant['name']]}.",
                )
            )
        elif tenant["name"] is not None:
            seen[tenant["name"]] = path
        for index, key in enumerate(tenant["keys"] or []):
            _check_key(f"{path}.keys[{index}]", key, digests, report)
            _check_expiry(f"{path}.keys[{index}].expires", key, today, report)
        ids = [key["id"] for key in tenant["keys"] or [] if key["id"] is not None]
        for name in sorted({name for name in ids if ids.count(name) > 1}):
            report(Problem(f"{path}.keys", "key-id-shared", shown(name), "an id for each key", "Rename one of them."))


def _check_key(path: str, key: Mapping[str, Any], digests: dict[str, str], report: Report) -> None:
    sources = [name for name in ("file", "sha256", "value") if key[name] is not None]
    if len(sources) > 1:
        report(
            Problem(
                path, "key-source", " and ".join(sources), "at most one of file, sha256 and value", "Keep one of them."
            )
        )
    digest = key_digest(key)
    identity = digest or key["file"]
    if digest == EMPTY_DIGEST:
        report(
            Problem(
                f"{path}.sha256",
                "key-empty",
                "the digest of the empty string",
                "the digest of a key",
                "Make a key of at least 32 characters and give its digest.",
            )
        )
    elif identity is not None:
        other = digests.setdefault(identity, path)
        if other != path:
            report(
                Problem(
                    path,
                    "key-shared",
                    f"the key of {other}",
                    "a key nobody else has",
                    "Give each tenant its own key; a shared one tells nobody apart.",
                )
            )


def _check_expiry(path: str, key: Mapping[str, Any], today: datetime.date, report: Report) -> None:
    try:
        end = expiry(key)
    except ValueError:
        report(Problem(path, "bad-value", shown(key["expires"]), "a day and time that exist", "Mend the date."))
        return
    if end is None or end.date() > today + SOON:
        return
    gone = end.date() <= today if end.time() == datetime.time() else end.date() < today
    report(
        Problem(
            path,
            "key-expired" if gone else "key-expires",
            str(key["expires"]),
            f"a day after {today}" if gone else f"a day more than {SOON.days} days after {today}",
            "The gateway refuses the key: remove it." if gone else "Make a new key in time: hardened.vllm.rotate_keys.",
            Severity.WARNING,
        )
    )


def expiry(key: Mapping[str, Any]) -> datetime.datetime | None:
    """Return the moment a declared key ends, None when it never does; ValueError when there is no such moment."""
    if key["expires"] is None:
        return None
    moment = datetime.datetime.fromisoformat(str(key["expires"]).removesuffix("Z"))
    return moment.replace(tzinfo=datetime.UTC)


def key_digest(key: Mapping[str, Any]) -> str | None:
    """Return the SHA-256 digest of a declared key, or None when only its file knows it."""
    if key["sha256"] is not None:
        return str(key["sha256"])
    if key["value"] is not None:
        return hashlib.sha256(str(key["value"]).encode()).hexdigest()
    return None
