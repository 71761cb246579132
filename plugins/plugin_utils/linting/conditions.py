# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a value is dangerous: the closed set of conditions the catalogue's rules use."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from .. import catalogue

FALSE = frozenset({"", "0", "false", "no", "off"})
SHARED = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - what is looked for, not used

_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")


def truthy(text: str) -> bool:
    """Tell whether ``text`` switches something on; what is neither true nor false counts as on."""
    return text.strip().lower() not in FALSE


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    bare = re.sub(r"^[a-z]+://", "", text.strip().lower())
    for candidate in (bare, bare.rsplit(":", 1)[0]):
        try:
            return ipaddress.ip_address(candidate.strip("[]"))
        except ValueError:
            continue
    return None


def wildcard(text: str) -> bool:
    """Tell whether ``text``, an address or an endpoint such as ``tcp://*:5557``, means every interface."""
    bare = re.sub(r"^[a-z]+://", "", text.strip().lower())
    if bare in ("", "*", "[::]") or bare.startswith("*:"):
        return True
    address = _address(text)
    return address is not None and address.is_unspecified


def loopback(text: str) -> bool:
    """Tell whether ``text`` is an address only the host itself reaches."""
    address = _address(text)
    return text.strip().lower() == "localhost" or (address is not None and address.is_loopback)


def public(text: str) -> bool:
    """Tell whether ``text`` is an address of the public internet."""
    address = _address(text)
    return address is not None and address.is_global and not address.is_multicast


def bypasses_key(root: str, guarded: Sequence[str]) -> bool:
    """Tell whether ``--root-path root`` switches ``--api-key`` off for some route.

    vLLM strips the root path character by character, its router at a segment boundary (authenticate.py, 0.32.0).
    """
    if re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", root) is None:
        return True
    return any(prefix.startswith(root) or root.startswith(prefix) for prefix in guarded)


def host_name(text: str) -> bool:
    """Tell whether ``text`` is a host as ``--allowed-media-domains`` compares it; no address of a private network."""
    address = _address(text)
    if address is not None and address.is_private:
        return False
    return _HOST.fullmatch(text) is not None


# Parts of paths that people call their network file systems by, and the way a share itself is written.
_NETWORK = re.compile(
    r"(?i)(.*[/_-])?(nfs|efs|fsx|cifs|smb|ceph(fs)?|gluster(fs)?|lustre|gpfs|beegfs|juicefs|weka(fs)?|filestore|gcsfuse|s3fs|sshfs)"
    r"\d*([/_.-].*)?|//.+|/net/.+|[\w.-]+:/.*"
)


def network_path(text: str) -> bool:
    """Tell whether ``text`` looks like a path on a file system that other hosts write to as well."""
    return "://" not in text and _NETWORK.fullmatch(text) is not None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _below(values: Sequence[str], limit: Any) -> bool:
    return any(number is not None and number < limit for number in map(_number, values))


def _above(values: Sequence[str], limit: Any) -> bool:
    return any(number is not None and number > limit for number in map(_number, values))


def _off(values: Sequence[str], _limit: Any) -> bool:
    return all(
        value.strip().lower() in FALSE or ((number := _number(value)) is not None and number <= 0) for value in values
    )


def _bypass(values: Sequence[str], _limit: Any) -> bool:
    guarded = catalogue.guarded_prefixes(catalogue.releases()[-1])
    return any(bypasses_key(value, guarded) for value in values)


def _star(values: Sequence[str], _limit: Any) -> bool:
    for value in values:
        try:
            listed = json.loads(value)
        except (ValueError, RecursionError):
            listed = [value]
        if "*" in (listed if isinstance(listed, list) else [listed]):
            return True
    return False


def _shared(values: Sequence[str], _limit: Any) -> bool:
    paths = [path for value in values for path in value.split(":")]
    return any(path == place or path.startswith(f"{place}/") for path in paths for place in SHARED)


def _inexact(values: Sequence[str], _limit: Any) -> bool:
    return any(value and not value.startswith(("=", "^")) for value in values)


def _words(values: Sequence[str], words: Any) -> bool:
    return any(value.strip().upper() in words for value in values)


CONDITIONS: dict[str, Callable[[Sequence[str], Any], bool]] = {
    "set": lambda _values, _limit: True,
    "given": lambda _values, _limit: True,
    "on": lambda values, _limit: not values or any(truthy(value) for value in values),
    "off": _off,
    "not": lambda values, wanted: any(value != str(wanted) for value in values),
    "one_of": lambda values, words: any(value in words for value in values),
    "not_one_of": lambda values, words: any(value not in words for value in values),
    "word": _words,
    "below": _below,
    "above": _above,
    "wildcard": lambda values, _limit: any(wildcard(value) for value in values),
    "loopback": lambda values, _limit: any(loopback(value) for value in values),
    "public": lambda values, _limit: any(public(value) for value in values),
    "empty": lambda values, _limit: not any(value.strip() not in ("", "[]") for value in values),
    "bypass": _bypass,
    "star": _star,
    "shared": _shared,
    "inexact": _inexact,
    "scheme": lambda values, _limit: any("://" in value for value in values),
    "not_hosts": lambda values, _limit: any(
        value.strip() not in ("", "[]") and not host_name(value) for value in values
    ),
    "not_commit": lambda values, _limit: any(re.fullmatch(r"[0-9a-f]{40}", value) is None for value in values),
    # Whether a value is the artefact's own or a reference is known to the word, not to its text.
    "literal": lambda values, _limit: any(value and getattr(value, "literal", True) for value in values),
}
