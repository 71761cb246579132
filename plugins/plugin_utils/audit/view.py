# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a check sees of one host, and what it may say."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..problems import Severity
from .controls import controls
from .evidence import Answer, Endpoint, HostEvidence, Process, Reached, ReachEvidence, RoutesEvidence
from .ranges import others, ports_of, text

# Standings of places that are no part of the cluster.
OUTSIDE = ("observer", "stranger", "controller")
# Those of members of a cluster, who try likely ports only.
MEMBERS = ("peer", "gateway")


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong on ``host``.

    ``place`` is where, in words that are the same in the next audit (no process ids); ``evidence`` are lines that show it. Neither
    holds a secret. ``rule`` is the linter's where it found it.
    """

    control: str
    host: str
    place: str
    found: str
    expected: str
    remedy: str
    severity: Severity
    rule: str = ""
    evidence: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """What the same finding has in every audit: 16 hexadecimal digits."""
        identity = "\0".join((self.control, self.rule, self.host, self.place))
        return hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()[:16]

    def message(self) -> str:
        """Return the finding as one sentence."""
        return f"{self.place}: found {self.found}; expected {self.expected}. {self.remedy}"


@dataclass(frozen=True)
class Looked:
    """The control was looked at in one place and holds there. ``at`` says where, for the report."""

    control: str
    at: str


@dataclass(frozen=True)
class Unchecked:
    """Something of the control could not be looked at. ``control`` is empty when that concerns all controls of the check."""

    why: str
    control: str = ""


@dataclass(frozen=True)
class Absent:
    """The control has nothing to protect on this host: no such thing is planned or running there."""

    why: str
    control: str = ""


Said = Finding | Looked | Unchecked | Absent


@dataclass(frozen=True)
class View:
    """One host as the audit sees it.

    ``plan`` is its cluster's and ``part`` the host's share of it; both are None for a host no plan knows. ``evidence`` is what was
    collected on it, None with the reason in ``absent``. ``reach``, ``endpoints`` and ``answers`` are what others saw of it, each
    with the document it is from. ``unrouted`` are places outside from which no route leads to one of its addresses.
    ``unplanned`` says why there is no plan of a host that is declared. ``secrets`` maps digests (hexadecimal) to names of the cluster's
    secrets.
    """

    name: str
    today: datetime.date
    plan: Mapping[str, Any] | None = None
    part: Mapping[str, Any] | None = None
    evidence: HostEvidence | None = None
    absent: str = "no evidence was collected on the host"
    reach: Sequence[tuple[ReachEvidence, Reached]] = ()
    endpoints: Sequence[tuple[RoutesEvidence, Endpoint]] = ()
    answers: Sequence[tuple[RoutesEvidence, Answer]] = ()
    unrouted: Sequence[str] = ()
    outside_missing: str = "nobody looked at the host from elsewhere"
    unplanned: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict)

    @property
    def engines(self) -> Sequence[Mapping[str, Any]]:
        """The engines planned here."""
        return self.part["engines"] if self.part is not None else ()

    @property
    def gateway(self) -> Mapping[str, Any] | None:
        """The gateway planned here."""
        return self.part["gateway"] if self.part is not None else None

    def finding(
        self,
        control: str,
        place: str,
        found: str,
        expected: str,
        *,
        severity: Severity | None = None,
        remedy: str = "",
        rule: str = "",
        evidence: Sequence[str] = (),
    ) -> Finding:
        """Return a finding here, as bad as its control and mended as that says unless told otherwise."""
        known = controls()[control]
        return Finding(
            control,
            self.name,
            place,
            found,
            expected,
            remedy or (known.foreign if self.part is None else "") or known.remedy,
            known.severity if severity is None else severity,
            rule,
            tuple(evidence),
        )

    def lacks(self, *facts: str) -> str | None:
        """Return why one of ``facts`` of the host's evidence is not known, None when all are."""
        if self.evidence is None:
            return self.absent
        content: Mapping[str, Any] = self.evidence
        for fact in facts:
            if content.get(fact) is None:
                reasons = [one["reason"] for one in self.evidence["unknown"] if one["fact"].split(":")[0] == fact]
                return f"{fact} could not be looked at: {reasons[0] if reasons else 'no reason was given'}"
        return None

    def known(self, *facts: str, control: str = "") -> HostEvidence | Unchecked:
        """Return the host's evidence when all of ``facts`` are known, else why ``control`` cannot be judged here."""
        why = self.lacks(*facts)
        if why is not None or self.evidence is None:
            return Unchecked(why or self.absent, control)
        return self.evidence

    def processes(self, *kinds: str) -> list[Process]:
        """Return the processes found, of ``kinds`` or of all."""
        found = (self.evidence["processes"] if self.evidence is not None else None) or []
        return [process for process in found if not kinds or process["kind"] in kinds]

    def listeners(self) -> Iterator[Mapping[str, Any]]:
        """Yield the planned listeners."""
        yield from self.part["listeners"] if self.part is not None else ()

    def sources(self, listener: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the networks a planned listener is open to."""
        if self.plan is not None:
            for name in listener["from"]:
                for family in ("ipv4", "ipv6"):
                    for text in self.plan["sets"].get(name, {}).get(family, ()):
                        yield ipaddress.ip_network(text)

    def interface_of(self, address: str) -> str | None:
        """Return the interface ``address`` of this host is on, None when it is not known."""
        known = (self.evidence["addresses"] if self.evidence is not None else None) or {}
        return known.get(address)

    def networks_of(self, address: str) -> set[str]:
        """Return the planned networks ``address`` of this host belongs to."""
        if self.part is None:
            return set()
        found = {name for name, pair in self.part["addresses"].items() if address in pair.values()}
        interface = self.interface_of(address)
        return found | {name for name, on in self.part["interfaces"].items() if on is not None and on == interface}

    def may_reach(self, listener: Mapping[str, Any], source: str, address: str) -> bool:
        """Tell whether the plan lets ``source`` reach ``listener`` at ``address``."""
        if listener["network"] is not None and listener["network"] not in self.networks_of(address):
            return False
        origin = ipaddress.ip_address(source)
        return any(origin in network for network in self.sources(listener))


def untried(seen: ReachEvidence, row: Reached) -> str:
    """Return the ports of ``row`` nobody came to, as ranges; who is no member of a cluster has to try every TCP port."""
    if row["protocol"] != "tcp" or seen["standing"] in MEMBERS:
        return row["untried"]
    tried = [*ports_of(row["refused"]), *ports_of(row["filtered"]), *((port, port) for port in row["open"])]
    return text(others(tried))


def why_untried(row: Reached) -> str:
    """Return why ports of ``row`` were left out, for the report."""
    return row["reason"] or "they were not asked for (audit_ports)"


def is_loopback(address: str) -> bool:
    """Tell whether a listening address is reachable from its own host only."""
    bare = address.partition("%")[0]
    return ipaddress.ip_address(bare).is_loopback
