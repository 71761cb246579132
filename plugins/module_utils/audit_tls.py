# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server shows of its TLS: the protocols it speaks and its certificate, trusted or not."""

from __future__ import annotations

import datetime
import hashlib
import socket
import ssl
import warnings
from typing import Any, Dict, Iterator, List, Optional, Tuple

PROTOCOLS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_NAMES = {b"\x55\x04\x03": "CN", b"\x55\x04\x0a": "O", b"\x55\x04\x06": "C", b"\x55\x04\x0b": "OU"}
_ALTERNATIVE_NAMES = b"\x55\x1d\x11"
_SEQUENCE, _OID, _OCTETS, _UTC_TIME = 0x30, 0x06, 0x04, 0x17
# What this host's own library says when it is the one that does not speak a protocol.
_OWN_REFUSALS = ("NO_PROTOCOLS_AVAILABLE", "UNSUPPORTED_PROTOCOL", "NO_CIPHERS_AVAILABLE")


def unverified() -> ssl.SSLContext:
    """Return settings that take any certificate; what is judged is told, not refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def wrapped(connection: socket.socket, server_name: str, context: Optional[ssl.SSLContext] = None) -> ssl.SSLSocket:
    """Return ``connection`` with TLS on it; the name is sent unless it is empty."""
    return (context or unverified()).wrap_socket(connection, server_hostname=server_name or None)


def look(address: str, port: int, server_name: str, authority: str, timeout: float) -> Dict[str, Any]:
    """Return protocol, cipher, certificate and what else the port speaks. Raises OSError when it speaks no TLS at all."""
    with socket.create_connection((address, port), timeout) as plain, wrapped(plain, server_name) as connection:
        encoded = connection.getpeercert(binary_form=True) or b""
        cipher = connection.cipher()
        found: Dict[str, Any] = {"protocol": connection.version(), "cipher": cipher[0] if cipher else None}
    trusted, distrust = _trust(address, port, server_name, authority, timeout)
    found["certificate"] = {**certificate(encoded), "trusted": trusted, "distrust": distrust}
    found["certificate"]["matches"] = any(matches(name, server_name) for name in found["certificate"]["names"])
    found["speaks"] = {name: speaks(address, port, server_name, name, timeout) for name in PROTOCOLS}
    return found


def _trust(address: str, port: int, server_name: str, authority: str, timeout: float) -> Tuple[bool, Optional[str]]:
    context = ssl.create_default_context(cadata=authority or None)
    # Whether the name fits is told apart from whether somebody vouches for it.
    context.check_hostname = False
    try:
        with socket.create_connection((address, port), timeout) as plain, wrapped(plain, server_name, context):
            return True, None
    except ssl.SSLCertVerificationError as error:
        return False, str(error.verify_message)


def speaks(address: str, port: int, server_name: str, protocol: str, timeout: float) -> Optional[bool]:
    """Tell whether a server speaks one version of TLS; None when this host cannot ask that."""
    context = unverified()
    version = getattr(ssl.TLSVersion, protocol.replace(".", "_"))
    try:
        # Without this the library keeps its own old protocols to itself.
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that they are old is why they are asked for
            context.minimum_version = version
            context.maximum_version = version
    except (ssl.SSLError, ValueError):
        return None
    try:
        with socket.create_connection((address, port), timeout) as plain, wrapped(plain, server_name, context):
            return True
    except ssl.SSLError as error:
        return None if error.reason in _OWN_REFUSALS else False
    except OSError:
        return False


def matches(pattern: str, name: str) -> bool:
    """Tell whether a name of a certificate stands for ``name``; ``*`` stands for one label, the first."""
    if pattern.startswith("*."):
        return name.partition(".")[2].lower() == pattern[2:].lower()
    return pattern.lower() == name.lower()


def certificate(encoded: bytes) -> Dict[str, Any]:
    """Return subject, issuer, names, times and digest of a DER certificate. Raises ValueError for what is none."""
    try:
        return _certificate(encoded)
    except (IndexError, StopIteration, OverflowError) as error:
        # OpenSSL looks into no extension before somebody asks for it, so a server may send one that ends too early.
        raise ValueError("the certificate lacks a part: %s" % type(error).__name__) from None


def _certificate(encoded: bytes) -> Dict[str, Any]:
    fields = list(_parts(next(_parts(next(_parts(encoded))[1]))[1]))
    # An optional version, then serial number, algorithm, issuer, validity, subject, key, and what version 3 adds.
    if fields[0][0] == 0xA0:
        fields = fields[1:]
    before, after = (_time(tag, value) for tag, value in _parts(fields[3][1]))
    return {
        "subject": _name(fields[4][1]),
        "issuer": _name(fields[2][1]),
        "names": _alternative_names(fields[6:]),
        "not_before": before,
        "not_after": after,
        "sha256": hashlib.sha256(encoded).hexdigest(),
    }


def _parts(data: bytes) -> Iterator[Tuple[int, bytes]]:
    """Yield tag and content of every element of DER one after the other."""
    place = 0
    while place < len(data):
        if place + 2 > len(data):
            raise ValueError("the certificate ends inside of an element")
        tag, length = data[place], data[place + 1]
        place += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[place : place + size], "big")
            place += size
        if place + length > len(data):
            raise ValueError("the certificate ends inside of an element")
        yield tag, data[place : place + length]
        place += length


def _time(tag: int, value: bytes) -> str:
    text = value.decode("ascii")
    if tag == _UTC_TIME:
        # RFC 5280: two digits of 50 and more belong to the last century.
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    moment = datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ")
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _name(data: bytes) -> str:
    shown = []
    for _tag, group in _parts(data):
        for _kind, pair in _parts(group):
            (_oid, oid), (_text, value) = list(_parts(pair))[:2]
            if oid in _NAMES:
                shown.append("%s=%s" % (_NAMES[oid], value.decode("utf-8", "replace")))
    return ", ".join(shown)


def _alternative_names(rest: List[Tuple[int, bytes]]) -> List[str]:
    names: List[str] = []
    for tag, block in rest:
        if tag != 0xA3:
            continue
        for _sequence, extension in _parts(next(_parts(block))[1]):
            parts = list(_parts(extension))
            if parts[0] == (_OID, _ALTERNATIVE_NAMES):
                for kind, value in _parts(next(_parts(parts[-1][1]))[1]):
                    if kind == 0x82:
                        names.append(value.decode("ascii", "replace"))
                    elif kind == 0x87 and len(value) in (4, 16):
                        names.append(socket.inet_ntop(socket.AF_INET if len(value) == 4 else socket.AF_INET6, value))
    return names
