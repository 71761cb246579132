# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result of an audit as JSON types: what each key means, docs/audit.schema.json says; a test proves that both have the same keys."""

from __future__ import annotations

from typing import Annotated, TypedDict

from .shape import one_of

FORMAT = 1
PASSED, FAILED, WAIVED = "passed", "failed", "waived"
UNCHECKED, ABSENT = "not checked", "not applicable"
OUTCOMES = (FAILED, UNCHECKED, WAIVED, PASSED, ABSENT)

Severity = Annotated[str, one_of("error", "warning", "info")]


class Cluster(TypedDict):
    """A cluster whose plan was compared with."""

    name: str
    release: str
    topology: str


OutcomeCounts = TypedDict(
    "OutcomeCounts", {"failed": int, "not checked": int, "waived": int, "passed": int, "not applicable": int}
)


class FindingCounts(TypedDict):
    """Findings that no waiver covers."""

    error: int
    warning: int
    info: int


class Summary(TypedDict):
    """Both counts, and how many findings are waived."""

    outcomes: OutcomeCounts
    findings: FindingCounts
    waived: int


class Verdict(TypedDict):
    """All of it in one line, and in one word."""

    sentence: str
    worst: str
    word: str


class Server(TypedDict):
    """A running vLLM or Ray."""

    kind: str
    unit: str | None
    versions: dict[str, str]
    started: str


class Host(TypedDict):
    """A host that was or should have been looked at."""

    name: str
    cluster: str | None
    roles: list[str]
    looked_at: bool
    why: str
    kernel: str | None
    booted: str | None
    servers: list[Server]


class Place(TypedDict):
    """From where hosts were looked at."""

    name: str
    standing: str
    sources: list[str]


class Outcome(TypedDict):
    """How a control ended on a host."""

    control: str
    host: str
    outcome: Annotated[str, one_of(*OUTCOMES)]
    why: list[str]
    looked_at: list[str]
    findings: list[str]


class Finding(TypedDict):
    """One thing that is wrong."""

    id: str
    control: str
    rule: str
    host: str
    place: str
    severity: Severity
    found: str
    expected: str
    remedy: str
    message: str
    evidence: list[str]
    waived: bool
    state: Annotated[str, one_of("", "new", "still there")]


class Waiver(TypedDict):
    """What is accepted for a while."""

    rule: str
    hosts: list[str]
    reason: str
    owner: str
    expires: str
    state: str


Cell = TypedDict("Cell", {"is": str, "should": str})


class Row(TypedDict):
    """A socket of a host, and who found it open."""

    host: str
    name: str
    protocol: str
    ports: str
    control: str
    cells: dict[str, Cell]


class Missing(TypedDict):
    """Evidence that could not be collected, a plan that could not be made, or an error of a declaration."""

    host: str
    part: str
    reason: str


class Result(TypedDict):
    """What the filter hardened.vllm.audit_judge returns."""

    format: int
    taken: str
    today: str
    clusters: list[Cluster]
    compared_with: str | None
    summary: Summary
    verdict: Verdict
    hosts: list[Host]
    places: list[Place]
    outcomes: list[Outcome]
    findings: list[Finding]
    gone: list[Finding]
    waivers: list[Waiver]
    matrix: list[Row]
    missing: list[Missing]
