# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock an installation is held to, and the model that is fetched, from the declaration to the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from jinja2.nativetypes import NativeEnvironment

from .conftest import TODAY

BUNDLE = {"bundle": "bundles/0.32.0"}


@pytest.mark.parametrize(
    ("install", "lock"),
    [
        (BUNDLE, "bundles/0.32.0/requirements.lock"),
        ({"lock": "vllm.lock", "index_url": "https://index.example.org/simple"}, "vllm.lock"),
        ({"lock": "vllm.lock", "find_links": "/opt/wheels"}, "vllm.lock"),
        ({"requirements": ["torch==2.13.0"]}, None),
    ],
)
def test_the_plan_names_the_lock(
    cluster: dict[str, Any], hosts: dict[str, Any], install: dict[str, Any], lock: str | None
) -> None:
    cluster["install"] = install
    part = plan(cluster, hosts, TODAY)["hosts"]["engine1"]["install"]
    assert (part["lock"], part["bundle"]) == (lock, install.get("bundle"))


IMAGE = f"registry.example.org/vllm/vllm-openai@sha256:{'0' * 64}"
REGISTRY = {"name": "registry", "to": ["10.20.9.9/32"], "port": 443, "purpose": "install", "why": "the image"}


@pytest.mark.parametrize(
    ("install", "egress", "destinations"),
    [({}, [], None), ({}, [REGISTRY], ["10.20.9.9/32"]), ({"image_archive": "vllm.tar"}, [], [])],
)
def test_an_image_is_pulled_from_whom_is_declared_and_an_archive_asks_nobody(
    cluster: dict[str, Any], hosts: dict[str, Any], install: dict[str, Any], egress: list[Any], destinations: Any
) -> None:
    cluster["install"] = {"method": "image", "image": IMAGE, "python": "/usr/bin/python3", **install}
    cluster["egress"] = egress
    part = plan(cluster, hosts, TODAY)["hosts"]["engine1"]["install"]
    assert (part["method"], part["image"], part["version"]) == ("image", IMAGE, cluster["release"])
    assert part["destinations"] == destinations


SOURCE = {"repository": "acme/tiny", "revision": "0123456789abcdef0123456789abcdef01234567"}
DIRECTORY = "/srv/hardened-vllm/models/acme--tiny/0123456789abcdef0123456789abcdef01234567"


def test_a_fetched_model_is_planned_at_a_place_of_its_revision(cluster: dict[str, Any], hosts: dict[str, Any]) -> None:
    assert plan(cluster, hosts, TODAY)["hosts"]["engine1"]["model"] is None
    cluster["model"] = {"name": "tiny", "source": {**SOURCE, "token_file": "secrets/hub.token"}}
    call = {"name": "hub", "port": 443, "purpose": "model", "why": "the model"}
    cluster["egress"] = [{**call, "to": ["10.20.9.8/32"]}]
    made = plan(cluster, hosts, TODAY)
    part = made["hosts"]["engine1"]["model"]
    assert {key: part[key] for key in ("repository", "revision", "path")} == {**SOURCE, "path": DIRECTORY}
    assert (part["endpoint"], part["token_file"]) == ("https://huggingface.co", "secrets/hub.token")
    assert (part["destinations"], made["hosts"]["engine1"]["install"]["destinations"]) == (["10.20.9.8/32"], None)
    assert made["hosts"]["gateway1"]["model"] is None
    (engine,) = made["hosts"]["engine1"]["engines"]
    assert engine["argv"][:2] == ["serve", DIRECTORY]
    assert engine["read_paths"] == [DIRECTORY]
    # What fetches may call the hub, the engine's account may not.
    assert [name for name in made["sets"] if name.startswith("egress")] == []
    assert "10.20.9.8" not in str(made["hosts"]["engine1"]["egress"])


def test_the_probe_looks_for_the_model_where_the_plan_has_it() -> None:
    file = Path(__file__).parents[4] / "roles/preflight/vars/main.yml"
    variables = yaml.safe_load(file.read_text(encoding="utf-8"))
    jinja = NativeEnvironment()

    def asked(model: dict[str, Any]) -> Any:
        given = {"vllm_cluster": {"model": model}}
        source = jinja.from_string(variables["__preflight_source"]).render(given)
        return jinja.from_string(variables["__preflight_models"][0]).render({**given, "__preflight_source": source})

    assert asked({"name": "a", "source": SOURCE}) == DIRECTORY
    assert asked({"name": "a", "path": "/srv/models/a"}) == "/srv/models/a"


@pytest.mark.parametrize(
    ("install", "said"),
    [
        ({}, True),
        ({"index_url": "https://index.example.org/simple", "requirements": ["torch==2.13.0"]}, True),
        ({"index_url": "https://index.example.org/simple", "find_links": "/opt/wheels"}, True),
        ({"find_links": "/opt/wheels"}, False),
        ({"lock": "vllm.lock"}, False),
        (BUNDLE, False),
        ({"method": "existing", "python": "/opt/vllm/bin/python"}, False),
    ],
)
def test_an_index_without_a_lock_is_said_until_it_is_waived(
    cluster: dict[str, Any], hosts: dict[str, Any], install: dict[str, Any], said: bool
) -> None:
    cluster["install"] = install
    rules = [warning["rule"] for warning in plan(cluster, hosts, TODAY)["warnings"]]
    assert ("install-unlocked" in rules) is said
    waiver = {"rule": "install-unlocked", "reason": "The index is our own.", "owner": "tests", "expires": "2027-01-31"}
    cluster["waivers"] = [waiver]
    assert "install-unlocked" not in [warning["rule"] for warning in plan(cluster, hosts, TODAY)["warnings"]]
