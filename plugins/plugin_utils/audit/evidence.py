# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an audit collects, before anybody judges it: JSON documents, one shape for each module that looks.

Three words for what is not known, never mixed up. A key is ``None`` when that fact could not be looked at; the same
document's ``unknown`` then names the key and the reason. An empty list means that it was looked at and nothing was there. A
document that does not exist at all (a host nobody reached) is one entry of ``Evidence["missing"]``.

Times are ISO 8601 in UTC with seconds (``2026-11-25T14:40:00Z``), durations seconds, sizes bytes, modes octal texts
(``"0640"``), port ranges texts (``"1-21,23,25-65535"``, empty for none). Secrets are not in it: their values are
``"sha256:<hex>"`` of the UTF-8 text without line end, which is what the digests of a cluster's keys are compared with.

Evidence may come from a file, and its parts come from hosts that may be somebody else's by now: ``shape.first_fault`` says whether it is as
described here, so the judge relies on it.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from typing import Annotated, Any, NotRequired, TypedDict

from .shape import Form

FORMAT = 1


def _address(text: str) -> bool:
    ipaddress.ip_address(text.partition("%")[0])
    return True


def _day(text: str) -> bool:
    return bool(datetime.date.fromisoformat(text[:10]))


def _ports(text: str) -> bool:
    return not text or all(_span(part) for part in text.split(","))


def _span(part: str) -> bool:
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
    return found is not None and int(found[1]) <= int(found[2] or found[1]) <= 65535


Address = Annotated[str, Form("an IP address", _address)]
Day = Annotated[str, Form("a time such as 2026-11-25T14:40:00Z", _day)]
Digits = Annotated[str, Form("hexadecimal digits", lambda text: re.fullmatch("[0-9a-f]{1,32}", text) is not None)]
Mode = Annotated[str, Form("octal digits such as 0640", lambda text: re.fullmatch("[0-7]{1,6}", text) is not None)]
Port = Annotated[int, Form("a port", lambda number: 0 <= number <= 65535)]
Ports = Annotated[str, Form("ports such as 1-21,23,25-65535", _ports)]


class Unknown(TypedDict):
    """What could not be looked at: ``fact`` is a key of the document, or ``key:detail`` (``files:/srv/models``)."""

    fact: str
    reason: str


class Owner(TypedDict):
    """The process behind a socket. ``unit`` is a systemd unit, ``container`` the id the control group names; None: neither.

    ``kind`` is that of ``Process`` when it is one of these, else None.
    """

    pid: int
    name: str
    uid: int
    user: str | None
    unit: str | None
    container: str | None
    kind: str | None


class Listener(TypedDict):
    """A listening TCP socket or an unconnected UDP one. ``namespace`` is an ``id`` of ``Namespace``.

    ``address`` is ``0.0.0.0`` or ``::`` for all of them; ``::`` mostly takes IPv4 too. ``processes`` is empty when the owner
    could not be seen (``unknown`` then says so).
    """

    namespace: int
    protocol: str
    family: str
    address: Address
    port: Port
    processes: list[Owner]


class Namespace(TypedDict):
    """A network namespace with processes in it. ``host`` is true for the one PID 1 lives in."""

    id: int
    host: bool
    processes: int
    pid: int
    containers: list[str]
    addresses: list[Address]


class Process(TypedDict):
    """A process that belongs to vLLM, whatever started it.

    ``kind``: ``vllm`` (its server or a headless node), ``vllm-worker`` (a child that renamed itself: ``VLLM::EngineCore``),
    ``ray`` (its daemons), ``ray-dashboard``, ``mooncake``, ``nixl`` or ``lmcache``. ``argv`` holds the words as they stand, secret ones
    as digests. ``environment`` has every name; the value is None where it is of no concern to vLLM and so is not taken, and the
    whole is None when it was unreadable. ``versions`` maps a distribution (``vllm``, ``ray``, ``torch``, ...) to the version its
    ``dist-info`` names beside the interpreter. ``capabilities`` is the effective set in hexadecimal digits.
    ``seccomp`` is 0 (none), 1 (strict) or 2 (filter). ``core_limit`` is ``"0"``, bytes or ``"unlimited"``. ``writable`` are the mount
    points it sees that are not read-only.
    """

    kind: str
    pid: int
    parent: int
    name: str
    argv: list[str]
    environment: dict[str, str | None] | None
    executable: str | None
    directory: str | None
    uid: int
    user: str | None
    unit: str | None
    container: str | None
    namespace: int | None
    started: str
    versions: dict[str, str] | None
    no_new_privileges: bool | None
    seccomp: int | None
    capabilities: Digits | None
    core_limit: str | None
    maps_rdma: bool | None
    writable: NotRequired[list[str] | None]


class File(TypedDict):
    """A file, directory or link. ``kind``: file, directory, link, socket, device, fifo.

    ``modified`` and ``changed`` are its mtime and ctime. ``target`` is where a link leads. ``sha256`` is given for files of this
    collection's own directories and of units, else None. ``asked`` is the path of the question it answers.
    """

    path: str
    asked: str
    kind: str
    mode: Mode
    uid: int
    gid: int
    owner: str | None
    group: str | None
    size: int
    modified: str
    changed: str
    target: str | None
    sha256: str | None


class Account(TypedDict):
    """An account of ``/etc/passwd``. ``password``: ``set``, ``locked``, ``empty``, or None when the shadow file is unreadable."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    groups: list[str]
    password: str | None


class NftTable(TypedDict):
    """A table of the packet filter."""

    family: str
    name: str


class NftChain(TypedDict):
    """A chain of a table; one without ``hook`` is only led to."""

    family: str
    table: str
    name: str
    hook: NotRequired[str]
    type: NotRequired[str]
    prio: NotRequired[int]
    policy: NotRequired[str]


class NftRule(TypedDict):
    """A rule of a chain. Statements have many forms: ``checks/nft.py`` reads those it knows and says of others that it cannot."""

    family: str
    table: str
    chain: str
    expr: list[dict[str, Any]]
    comment: NotRequired[str]


class NftSet(TypedDict):
    """A named set of a table."""

    family: str
    table: str
    name: str
    elem: NotRequired[list[Any]]


class NftObject(TypedDict):
    """One entry of nft's list: one of these, or something of no concern here."""

    table: NotRequired[NftTable]
    chain: NotRequired[NftChain]
    rule: NotRequired[NftRule]
    set: NotRequired[NftSet]


class HostEvidence(TypedDict):
    """What ``audit_host`` returns as ``evidence``.

    ``nftables`` is the list under ``nftables`` of ``nft -j list ruleset``. ``legacy_tables`` maps ``ipv4`` and ``ipv6`` to the
    iptables-legacy tables in the kernel. ``units`` maps every unit of ours and of a process found to its properties in force
    (``systemctl show``), plus ``FragmentText``: the lines in force, secrets as digests (``systemctl cat``). ``sysctl`` maps a name
    to its text, None where the kernel has none. ``packages`` maps Debian packages asked for to versions, None: not installed.
    ``booted`` is when the kernel started. ``addresses`` maps an address to its interface. ``proxies`` are nginx's
    listening configuration files: ``{"path", "text"}``, secrets as digests. ``privileged`` is false when it did not run as root;
    most of the rest is then unknown.
    """

    format: int
    kind: str
    host: str
    taken: str
    seconds: float
    privileged: bool
    os: dict[str, str] | None
    kernel: str
    booted: str | None
    addresses: dict[Address, str] | None
    namespaces: list[Namespace] | None
    listeners: list[Listener] | None
    processes: list[Process] | None
    nftables: list[NftObject] | None
    legacy_tables: dict[str, list[str]] | None
    units: dict[str, dict[str, str]] | None
    files: list[File] | None
    sysctl: dict[str, str | None] | None
    users: list[Account] | None
    rdma_devices: list[dict[str, Any]] | None
    packages: dict[str, str | None] | None
    proxies: list[dict[str, str]] | None
    unknown: list[Unknown]


class Reached(TypedDict):
    """One address as it looks from one place.

    TCP: ``open`` accepted, ``refused`` answered with a reset (or an ICMP refusal), ``filtered`` stayed silent. UDP: ``open`` answered,
    ``refused`` is an ICMP refusal, ``filtered`` silent, which for UDP is also what an open port does that does not like the question.
    ``untried`` are ports the scan did not come to in its time: never take them for closed. An address no route leads to has no entry;
    ``unknown`` names it.
    """

    host: str
    address: Address
    protocol: str
    open: list[Port]
    refused: Ports
    filtered: Ports
    untried: Ports
    reason: str | None


class ReachEvidence(TypedDict):
    """What ``audit_reach`` returns as ``evidence``.

    ``standing`` is what the place is to the hosts it looks at: ``observer`` (outside), ``stranger`` (on the fabric, no member),
    ``peer`` (member of an engine), ``gateway``, ``monitor`` or ``controller``. ``sources`` are the addresses it looked from.
    """

    format: int
    kind: str
    observer: str
    standing: str
    sources: list[Address]
    taken: str
    seconds: float
    reached: list[Reached]
    unknown: list[Unknown]


class Certificate(TypedDict):
    """A server's certificate. ``trusted`` is against the authorities given (or the system's); ``distrust`` says why not.

    ``matches`` tells whether a name in it is the server name asked for.
    """

    subject: str
    issuer: str
    names: list[str]
    not_before: Day
    not_after: Day
    sha256: str
    trusted: bool
    distrust: str | None
    matches: bool


class Endpoint(TypedDict):
    """TLS of one address and port.

    ``certificate`` is None without TLS. ``speaks`` maps ``TLSv1``, ``TLSv1.1``, ``TLSv1.2``, ``TLSv1.3`` and ``plain`` (HTTP without
    TLS) to true, false, or None where this host's own library cannot ask that.
    """

    host: str
    address: str
    port: Port
    tls: bool
    protocol: str | None
    cipher: str | None
    certificate: Certificate | None
    speaks: dict[str, bool | None]
    error: str | None


class Answer(TypedDict):
    """The answer to one request, with what was asked so that nobody needs the question beside it.

    ``path`` is the catalogue's (``/v1/models``), ``target`` what was sent, ``form`` ``plain`` or the name of the disguise, ``key`` ``none``,
    ``wrong``, ``expired`` or the name of a key (``tenants/acme/k1``). ``status`` is None when there was no HTTP answer; ``error`` says why.
    ``headers`` holds those in ``HEADERS`` of ``module_utils/audit_http.py`` only, lower case. ``body`` is what the body looks like, never the body: ``empty``,
    ``json``, ``error`` (OpenAI's error object), ``detail`` (that of vLLM's own framework), ``models``, ``openapi``, ``metrics``, ``html``,
    ``events``, ``text`` or ``binary``.
    """

    id: str
    host: str
    address: str
    port: Port
    method: str
    path: str
    target: str
    form: str
    key: str
    status: int | None
    headers: dict[str, str]
    body: str
    bytes: int
    seconds: float
    error: str | None


class RoutesEvidence(TypedDict):
    """What ``audit_routes`` returns as ``evidence``; ``standing`` as in ``ReachEvidence``."""

    format: int
    kind: str
    observer: str
    standing: str
    taken: str
    seconds: float
    endpoints: list[Endpoint]
    answers: list[Answer]
    unknown: list[Unknown]


class Missing(TypedDict):
    """What is not there: ``part`` is ``host``, ``reach`` or ``routes`` for a document that should have been taken on ``host``.

    It is ``plan`` where nothing says what the host should be, ``declaration`` for an error of one that was planned nevertheless.
    """

    host: str
    part: str
    reason: str


class Evidence(TypedDict):
    """Everything one run collected. ``hosts`` is keyed by inventory name."""

    format: int
    taken: str
    hosts: dict[str, HostEvidence]
    reach: list[ReachEvidence]
    routes: list[RoutesEvidence]
    missing: list[Missing]
