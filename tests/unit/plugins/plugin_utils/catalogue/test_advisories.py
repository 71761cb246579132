# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Advisories by version, and whether a process takes them their ground."""

from __future__ import annotations

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue import advisories as module
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue.advisories import (
    Advisory,
    advisories,
    all_advisories,
    first_without,
)
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue.history import presence
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue.mitigation import (
    CHECKS,
    Running,
    Verdict,
    verdict,
)
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version


def ids(version: str, package: str = "vllm") -> set[str]:
    return {entry.id for entry in advisories(version, package)}


def find(name: str) -> Advisory:
    (found,) = (entry for entry in all_advisories() if entry.id == name)
    return found


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ("0.2.9", False),
        ("0.3.0", True),
        ("0.3.0rc1", True),
        ("0.21.0", True),
        ("0.21.0.post1", True),
        ("0.22.0.dev5", True),
        ("0.22.0rc1", True),
        ("0.22.0rc1+cu129", True),
        ("0.22.0", False),
        ("0.22.0+cpu", False),
        ("0.22.0.post1", False),
        ("0.22.1", False),
        ("1.0.0", False),
    ],
)
def test_versions_are_compared_by_pep_440(version: str, affected: bool) -> None:
    assert ("CVE-2026-48746" in ids(version)) is affected


@pytest.mark.parametrize(
    ("name", "version", "affected"),
    [
        ("CVE-2024-9052", "0.6.6.post1", True),
        ("CVE-2024-9052", "0.7.0", False),
        ("CVE-2026-94622", "0.29.0", True),
        ("CVE-2026-94622", "0.29.0.post1", True),
        ("CVE-2026-94622", "0.30.0", False),
        ("CVE-2026-5497", "0.32.0", True),
        ("CVE-2025-9141", "0.10.1", True),
        ("CVE-2025-9141", "0.10.1.1", False),
        ("CVE-2025-9141", "0.9.2", False),
        ("CVE-2026-73557", "0.20.2", True),
    ],
)
def test_ranges_without_a_fix_and_with_a_start(name: str, version: str, affected: bool) -> None:
    assert (name in ids(version)) is affected


def test_the_newest_release_is_itself_vulnerable() -> None:
    assert ids("0.32.0") == {"CVE-2026-130686", "CVE-2026-5497", "PYSEC-2026-3933"}
    assert ids("0.33.0") == {"CVE-2026-5497", "PYSEC-2026-3933"}
    assert first_without("0.32.0") == "0.33.0"
    assert first_without("0.33.0") is None
    assert first_without("0.12.0") == "0.33.0"


def test_other_packages_have_their_own_versions() -> None:
    assert ids("2.51.0", "ray") == {"CVE-2023-48022", "CVE-2025-62593"}
    assert ids("2.52.0", "ray") == {"CVE-2023-48022"}
    assert "CVE-2026-106037" in ids("0.3.13.post1", "mooncake-transfer-engine")
    assert ids("0.3.13.post2", "mooncake-transfer-engine") == set()


def test_the_worst_comes_first() -> None:
    words = [entry.severity for entry in advisories("0.10.2")]
    order = ["critical", "high", "medium", "low", "unknown"]
    assert words == sorted(words, key=order.index)
    assert advisories("0.10.2")[0].id == "CVE-2026-22778"


def test_no_version_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'nightly' is no version: expected one such as 0\.32\.0"):
        advisories("nightly")


def test_the_data_is_complete() -> None:
    names = [name for entry in all_advisories() for name in (entry.id, *entry.aliases)]
    assert len(all_advisories()) == 98
    assert len(names) == len(set(names))
    for entry in all_advisories():
        assert entry.severity in ("critical", "high", "medium", "low", "unknown"), entry
        assert entry.evidence in ("T", "TM", "M"), entry
        assert entry.fixed is None or entry.last is None, entry
        assert entry.fixed is not None or not entry.sure, entry
        assert entry.what, entry
        assert entry.mitigation, entry
        for text in (entry.since, entry.fixed, entry.last):
            assert text is None or Version(text)
        for alternative in entry.mitigated_by:
            assert alternative.keys() <= CHECKS, entry


def test_mitigations_name_options_and_variables_some_release_has() -> None:
    outside = {"PYTHONOPTIMIZE", "RAY_AUTH_MODE"}
    for entry in all_advisories():
        for alternative in entry.mitigated_by:
            for check, wanted in alternative.items():
                if check.startswith("option_"):
                    assert all(presence("flags", name) for name in wanted), entry.id
                if check.startswith("variable_"):
                    assert all(name in outside or presence("variables", name) for name in wanted), entry.id


RELEASES = st.builds(
    lambda minor, patch, suffix: f"0.{minor}.{patch}{suffix}",
    st.integers(0, 40),
    st.integers(0, 3),
    st.sampled_from(["", "rc1", ".dev3", ".post1", "+cpu"]),
)


@given(RELEASES)
def test_what_is_fixed_is_never_open_again(version: str) -> None:
    for entry in all_advisories():
        if entry.fixed is not None and Version(version) >= Version(entry.fixed):
            assert not entry.affects(Version(version))


@given(RELEASES)
def test_a_prerelease_has_at_least_the_holes_of_its_release(version: str) -> None:
    base = Version(version).base_version
    assert ids(f"{base}rc1") >= ids(base)


def running(
    options: dict[str, list[str]] | None = None,
    environment: dict[str, str] | None = None,
    negated: tuple[str, ...] = (),
    model: str | None = None,
) -> Running:
    return Running(options or {}, environment or {}, frozenset(negated), model)


MITIGATED, EXPOSED, UNDECIDED = Verdict.MITIGATED, Verdict.EXPOSED, Verdict.UNDECIDED


@pytest.mark.parametrize(
    ("name", "process", "wanted"),
    [
        ("CVE-2025-62164", running(), MITIGATED),
        ("CVE-2025-62164", running({"enable-prompt-embeds": []}), EXPOSED),
        ("CVE-2025-62164", running({"enable-prompt-embeds": []}, negated=("enable-prompt-embeds",)), MITIGATED),
        ("CVE-2025-24357", running(), EXPOSED),
        ("CVE-2025-24357", running({"load-format": ["safetensors"]}), MITIGATED),
        ("CVE-2026-115912", running(), MITIGATED),
        ("CVE-2026-115912", running({"mm-processor-cache-type": ["shm"]}), EXPOSED),
        ("CVE-2025-9141", running({"tool-call-parser": ["qwen3_coder"]}), EXPOSED),
        ("CVE-2025-9141", running({"tool-call-parser": ["hermes"]}), MITIGATED),
        ("CVE-2026-116180", running(), MITIGATED),
        ("CVE-2026-116180", running({"max-logprobs": ["-1"]}), EXPOSED),
        ("CVE-2026-116180", running({"max-logprobs": ["21"]}), EXPOSED),
        ("CVE-2026-109311", running(), EXPOSED),
        ("CVE-2026-109311", running({"limit-mm-per-prompt": ['{"image": 1, "audio": 0, "video": 0}']}), MITIGATED),
        ("CVE-2026-109311", running({"limit-mm-per-prompt": ['{"audio": 0, "video": {"count": 0}}']}), MITIGATED),
        (
            "CVE-2026-109311",
            running({"limit-mm-per-prompt.audio": ["0"], "limit-mm-per-prompt.video": ["0"]}),
            MITIGATED,
        ),
        ("CVE-2026-109311", running({"limit-mm-per-prompt": ["not json"]}), EXPOSED),
        ("CVE-2026-109311", running({"language-model-only": []}), MITIGATED),
        ("CVE-2026-22773", running({"limit-mm-per-prompt": ['{"image": 0}']}), MITIGATED),
        ("CVE-2026-130686", running(), UNDECIDED),
        ("CVE-2026-130686", running({"limit-mm-per-prompt": ['{"image": 1}']}), MITIGATED),
        ("CVE-2026-130686", running({"limit-mm-per-prompt": ['{"image": -1}']}), UNDECIDED),
        ("CVE-2026-48746", running(), UNDECIDED),
        ("CVE-2026-55574", running(), UNDECIDED),
        ("CVE-2026-41523", running(), MITIGATED),
        ("CVE-2026-41523", running(environment={"PYTHONOPTIMIZE": "1"}), EXPOSED),
        ("CVE-2026-47155", running(model="org/model"), EXPOSED),
        ("CVE-2026-47155", running(environment={"HF_HUB_OFFLINE": "1"}, model="/models/m"), MITIGATED),
        ("CVE-2026-47155", running(environment={"HF_HUB_OFFLINE": "0"}, model="/models/m"), EXPOSED),
        ("CVE-2026-115911", running({"chat-template": ["/t.jinja"]}), MITIGATED),
        ("CVE-2026-115911", running({"chat-template": [""]}), EXPOSED),
        ("CVE-2024-9052", running(), MITIGATED),
        ("CVE-2024-9052", running({"nnodes": ["2"]}), UNDECIDED),
        ("CVE-2024-9052", running({"headless": []}), UNDECIDED),
        ("CVE-2024-9052", running({"distributed-executor-backend": ["ray"]}), UNDECIDED),
        ("CVE-2025-32444", running({"kv-transfer-config": ['{"kv_connector": "MooncakeConnector"}']}), UNDECIDED),
        ("CVE-2025-32444", running({"kv-transfer-config.kv_connector": ["NixlConnector"]}), MITIGATED),
        ("CVE-2026-44223", running({"spec-method": ["extract_hidden_states"]}), EXPOSED),
        ("GHSA-v97p-wpxp-px84", running(), MITIGATED),
        ("GHSA-v97p-wpxp-px84", running({"pipeline-parallel-size": ["2"]}), EXPOSED),
        ("GHSA-v97p-wpxp-px84", running({"pipeline-parallel-size": ["2"]}, negated=("async-scheduling",)), MITIGATED),
        ("CVE-2023-48022", running(environment={"RAY_AUTH_MODE": "token"}), MITIGATED),
    ],
)
def test_verdicts(name: str, process: Running, wanted: Verdict) -> None:
    assert verdict(find(name), process) is wanted


def test_an_option_the_release_has_no_default_for_says_nothing() -> None:
    early = Running({}, {}, release="0.10.2")
    assert verdict(find("CVE-2026-115912"), early) is EXPOSED


def test_every_advisory_can_be_asked_about() -> None:
    found = {verdict(entry, running()) for entry in all_advisories()}
    assert found == set(Verdict)


def test_the_list_is_read_once() -> None:
    assert module.all_advisories() is module.all_advisories()
