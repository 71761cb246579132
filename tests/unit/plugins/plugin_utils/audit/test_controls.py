# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The registry of controls names what there is, and leaves nothing out: switches, rules, checks, tests, pages, the guide."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.checks import CHECKS
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.controls import (
    Control,
    control_of_rule,
    controls,
    recommendations,
)
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from ansible_collections.hardened.vllm.plugins.plugin_utils.declaration.kinds import ListOf, Record
from ansible_collections.hardened.vllm.plugins.plugin_utils.declaration.schema import CLUSTER
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.rules import described
from support.topologies import topologies

ROOT = Path(__file__).resolve().parents[5]
CONTROLS = sorted(controls().values(), key=lambda control: control.id)
NSA = {
    "Ensure a robust deployment environment architecture",
    "Harden deployment environment configurations",
    "Protect deployment networks from threats",
    "Validate the AI system before and during use",
    "Secure exposed APIs",
    "Protect model weights",
    "Enforce strict access controls",
    "Implement robust logging and monitoring",
    "Update and patch regularly",
}
# What can be declared and is the switch of no control, with all below it: the reason.
NO_CONTROL = {
    "name": "names the cluster",
    "topology": "how ranks are spread; what that opens is NET-03's",
    "model": "what is served; HOST-02 looks at its files whatever it is",
    "networks": "where hosts are; the plan's addresses come from it, and every NET control compares with those",
    "install": "where the code comes from; HOST-02 and VER-02 look at what is there",
    "engine.port": "a number; NET-02 holds whichever it is",
    "engine.master_port": "a number; NET-03 holds whichever it is",
    "engine.data_parallel_port": "a number; NET-03 holds whichever it is",
    "engine.nodes_per_engine": "how ranks are spread",
    "engine.engines_per_node": "how ranks are spread",
    "engine.ranks_per_node": "how ranks are spread",
    "engine.accelerators_per_rank": "how ranks are spread",
    "engine.load_balancing": "how ranks are spread",
    "engine.ray": "numbers of ports; NET-03 holds whichever they are",
    "engine.arguments": "the operator's own; every ENG control judges the process with them",
    "engine.environment": "the operator's own; every ENG control judges the process with them",
    "engine.max_sequences": "a size; ENG-11 asks for limits and not for which",
    "engine.media_items": "a size; ENG-11 asks for limits and not for which",
    "engine.devices": "which accelerators the sandbox lets in; ENG-17 asks that there is one",
    "engine.memory_max": "a size",
    "engine.ready_timeout_seconds": "patience",
    "cache": "where keys and values rest; ENG-15 and NET-06 judge it",
    "events": "who may read events; NET-03 judges its port",
    "media.resolvers": "NET-08 compares with the plan, of which this is a part",
    "media.port": "a number; NET-08 holds whichever it is",
    "media.item_megabytes": "a size",
    "media.item_seconds": "patience",
    "media.proxy": "NET-06 and NET-08 compare with the plan, of which this is a part",
    "gateway.network": "where the door is; GW-01 compares with the plan",
    "gateway.server_name": "GW-06 compares the certificate with it",
    "gateway.syslog": "a copy of the log that GW-10 looks at",
    "gateway.balancing": "which engine answers",
    "admin.ssh_port": "a number; NET-04 holds whichever it is",
    "waivers": "what is accepted for a while; the report lists every one of them",
}


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_a_control_is_complete(control: Control) -> None:
    assert re.fullmatch(r"(NET|GW|ENG|VER|HOST|OUT)-[0-9]{2}", control.id)
    assert control.title and control.remedy.endswith(".") and control.checks and control.tests
    assert control.guide or control.fact, "it serves neither the guide nor a fact"
    assert set(control.guide) <= set(recommendations())
    assert set(control.nsa) <= NSA
    assert all(re.fullmatch(r"C4\.[1-8]\.[1-9]", name) for name in control.aisvs)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_its_tests_exist(control: Control) -> None:
    for place in control.tests:
        path, _colons, name = place.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), place


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_its_switch_exists(control: Control) -> None:
    if control.switch == "always":
        return
    first, *rest = control.switch.split(".")
    if first != "vllm_cluster":
        role = first.split("_")[0]
        defaults = yaml.safe_load((ROOT / "roles" / role / "defaults/main.yml").read_text(encoding="utf-8"))
        assert first in defaults
        return
    record = CLUSTER
    for name in rest:
        kind = record.fields[name].kind
        inner = kind.kind if isinstance(kind, ListOf) else kind
        record = inner if isinstance(inner, Record) else Record("", {})


def _leaves(record: Record, path: str = "") -> Iterator[str]:
    for name, field in record.fields.items():
        inner = field.kind.kind if isinstance(field.kind, ListOf) else field.kind
        if isinstance(inner, Record):
            yield from _leaves(inner, f"{path}{name}.")
        else:
            yield path + name


def _above(path: str) -> set[str]:
    parts = path.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts) + 1)}


def test_every_switch_has_a_control_or_a_reason() -> None:
    switches = {control.switch.removeprefix("vllm_cluster.") for control in CONTROLS}
    leaves = set(_leaves(CLUSTER))
    left = {path for path in leaves if not _above(path) & (switches | set(NO_CONTROL))}
    assert left == set(), "no control names these as its switch; name one, or say in NO_CONTROL why there is none"
    without = {path for path in leaves if not _above(path) & switches}
    used = {name for path in without for name in _above(path) & set(NO_CONTROL)}
    assert set(NO_CONTROL) - used == set(), "these have a control by now, or are gone"


def test_the_checks_are_those_of_the_controls() -> None:
    assert {check for control in CONTROLS for check in control.checks} == set(CHECKS)


def test_every_rule_of_the_linter_is_in_one_control() -> None:
    named = Counter(rule for control in CONTROLS for rule in control.rules)
    assert {rule: times for rule, times in named.items() if times > 1} == {}
    assert set(named) == set(described())
    assert control_of_rule("env-dev-mode") == "ENG-01"
    with pytest.raises(KeyError, match="rule nonsense belongs to no control"):
        control_of_rule("nonsense")


def test_every_recommendation_has_a_control() -> None:
    served = {name for control in CONTROLS for name in control.guide}
    assert set(recommendations()) - served == set()
    sections = [one.text for one in recommendations().values()]
    assert len(set(sections)) == len(sections)


def test_every_control_the_collection_names_is_in_the_registry() -> None:
    named: set[str] = set()
    for folder in ("plugins", "roles", "docs"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yml", ".j2", ".md"):
                text = path.read_text(encoding="utf-8")
                named |= set(re.findall(r"\b(?:NET|GW|ENG|VER|HOST|OUT)-[0-9]{2}\b", text))
    assert named == set(controls())


def test_the_plan_names_its_controls_as_the_registry_does() -> None:
    for cluster, hosts in topologies().values():
        made = plan(cluster, hosts, datetime.date(2026, 11, 25))
        for name in {row["control"] for row in made["matrix"]}:
            assert {"planned_ports", "unplanned_ports"} & set(controls()[name].checks), name


def test_every_control_and_recommendation_is_on_the_page() -> None:
    page = (ROOT / "docs/controls.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^### ([A-Z]+-[0-9]{2})$", page, re.MULTILINE)) == set(controls())
    assert set(re.findall(r"^\| (GUIDE-[0-9]{2}) \|", page, re.MULTILINE)) == set(recommendations())
