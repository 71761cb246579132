# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab.errors import LabError
from lab.paths import CHECKOUT
from lab.spec import LabSpec, load, overlap, parse

DEMO = CHECKOUT / "molecule" / "lab" / "specs" / "demo.yml"
FILES = [DEMO, *sorted((CHECKOUT / "molecule").glob("*/lab.yml"))]


@pytest.fixture
def data() -> dict[str, Any]:
    return {
        "name": "one",
        "networks": {"fabric": {"subnets": ["10.9.1.0/24", "fd09:1::/64"]}, "management": {"subnets": ["10.9.2.0/24"]}},
        "nodes": [
            {"name": "a", "networks": ["fabric", "management"], "engine": True},
            {"name": "b", "networks": ["fabric"], "number": 40, "image": "trixie"},
        ],
    }


def test_addresses_follow_the_number(data: dict[str, Any]) -> None:
    spec = parse(data, "here")
    assert [str(address) for address in spec.addresses(spec.node("a"), "fabric")] == ["10.9.1.11", "fd09:1::11"]
    assert [str(address) for address in spec.addresses(spec.node("b"), "fabric")] == ["10.9.1.40", "fd09:1::40"]


def test_a_node_is_reached_on_the_management_network_where_it_has_a_leg_there(data: dict[str, Any]) -> None:
    spec = parse(data, "here")
    assert str(spec.reached_by(spec.node("a"))) == "10.9.2.11"
    assert str(spec.reached_by(spec.node("b"))) == "10.9.1.40"


def _change(data: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    changed = copy.deepcopy(data)
    target: Any = changed
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        target = target[part]
    target[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("name", "models", "taken by the lab's own files"),
        ("name", "Upper", "name: String should match"),
        ("nodes.0.image", "sid", "nodes.0.image: Input should be 'bookworm', 'trixie' or 'quadlet'"),
        ("nodes.0.networks", ["nowhere"], "a is on nowhere, which networks does not define"),
        ("nodes.1.name", "a", "a named more than once"),
        ("nodes.1.number", 11, "the same number"),
        ("nodes.1.color", "red", "nodes.1.color: Extra inputs are not permitted"),
        ("networks.fabric.subnets", ["10.9.1.0/24", "10.9.3.0/24"], "at most one IPv4 and one IPv6"),
        ("networks.fabric.subnets", ["10.9.1.0/30"], "too small"),
        ("networks.management.subnets", ["10.9.0.0/16"], "10.9.1.0/24 and 10.9.0.0/16 overlap"),
        ("tls", {"node": "c", "names": ["c.example.org"]}, "tls.node: there is no node 'c'"),
    ],
)
def test_a_wrong_description_is_refused_with_its_place(
    data: dict[str, Any], path: str, value: object, words: str
) -> None:
    with pytest.raises(LabError) as error:
        parse(_change(data, path, value), "some.yml")
    assert "some.yml" in str(error.value)
    assert words in str(error.value)


def test_all_wrong_fields_are_named_at_once(data: dict[str, Any]) -> None:
    wrong = _change(_change(data, "nodes.0.image", "sid"), "nodes.1.number", "many")
    with pytest.raises(LabError) as error:
        parse(wrong, "some.yml")
    assert "nodes.0.image" in str(error.value)
    assert "nodes.1.number" in str(error.value)


def test_a_file_that_is_missing_or_no_yaml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot read"):
        load(tmp_path / "none.yml")
    (tmp_path / "bad.yml").write_text("a: [")
    with pytest.raises(LabError, match="is not YAML"):
        load(tmp_path / "bad.yml")


def test_an_unknown_node_is_refused_with_the_known_ones(data: dict[str, Any]) -> None:
    with pytest.raises(LabError, match="choose one of: a, b"):
        parse(data, "here").node("z")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CHECKOUT)))
def test_every_lab_of_the_checkout_is_valid_and_bears_its_scenario_s_name(file: Path) -> None:
    assert load(file).name == (file.stem if file == DEMO else file.parent.name)


def test_labs_of_the_checkout_can_be_up_at_the_same_time() -> None:
    labs: list[LabSpec] = [load(file) for file in FILES]
    for one, other in combinations(labs, 2):
        mine = [subnet for network in one.networks.values() for subnet in network.subnets]
        theirs = [subnet for network in other.networks.values() for subnet in network.subnets]
        clashes = [(a, b) for a in mine for b in theirs if overlap(a, b)]
        assert not clashes, f"{one.name} and {other.name}: {clashes}"


def test_a_saved_description_is_read_back_unchanged(data: dict[str, Any]) -> None:
    spec = parse(data, "here")
    assert LabSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_demo_has_both_attackers_and_a_certificate_for_its_gateway() -> None:
    raw = yaml.safe_load(DEMO.read_text())
    groups = {node["name"]: node["groups"] for node in raw["nodes"]}
    assert groups["observer"] == ["vllm_observers"]
    assert groups["stranger"] == ["lab_strangers"]
    assert raw["tls"]["node"] == "gateway"
