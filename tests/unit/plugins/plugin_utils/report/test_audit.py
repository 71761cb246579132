# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each form of an audit's report holds the whole result, whatever was found, and is what its readers expect."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.report.audit.formats import FORMATS, digests
from support.audit_result import result
from support.schemas import sarif_validator

SCHEMA = json.loads((Path(__file__).resolve().parents[5] / "docs/audit.schema.json").read_text(encoding="utf-8"))
PLAIN = result()


@pytest.mark.parametrize("hostile", [False, True])
def test_json_is_as_its_schema_says(hostile: bool) -> None:
    report = json.loads(FORMATS["json"](result(hostile)))
    assert [error.message for error in _validator().iter_errors(report)] == []
    assert set(report["summary"]["outcomes"]) == {"failed", "waived", "not checked", "passed", "not applicable"}
    assert all(report["summary"]["outcomes"].values())
    assert {one["state"] for one in report["findings"]} == {"new", "still there"}
    assert report["gone"]


def _validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    return jsonschema.Draft202012Validator(SCHEMA)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("outcomes", 0, "outcome"), "fine"),
        (("findings", 0, "severity"), "fatal"),
        (("verdict", "word"), "ok"),
        (("x",), 1),
    ],
)
def test_the_schema_refuses_what_is_no_result(place: tuple[Any, ...], value: Any) -> None:
    spoilt: Any = copy.deepcopy(PLAIN)
    *way, last = place
    inner = spoilt
    for step in way:
        inner = inner[step]
    inner[last] = value
    assert len(list(_validator().iter_errors(spoilt))) == 1


def test_sarif_is_valid_by_the_official_schema() -> None:
    for hostile in (False, True):
        assert [
            error.message for error in sarif_validator().iter_errors(json.loads(FORMATS["sarif"](result(hostile))))
        ] == []
    (run,) = json.loads(FORMATS["sarif"](PLAIN))["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert all(rules[one["ruleIndex"]]["id"] == one["ruleId"] for one in run["results"])
    assert {one["kind"] for one in run["results"]} == {"fail", "pass", "open", "notApplicable"}
    assert {one.get("baselineState") for one in run["results"]} == {None, "new", "unchanged", "absent"}
    suppressed = [one for one in run["results"] if "suppressions" in one]
    assert {one["ruleId"] for one in suppressed} == {"VER-01"}
    assert rules[0]["helpUri"].endswith("/docs/controls.md#eng-01")


def test_junit_skips_what_was_not_checked_and_fails_what_failed() -> None:
    root = ElementTree.fromstring(FORMATS["junit"](PLAIN))  # noqa: S314 - made by ourselves just now
    suites = {suite.get("name"): suite for suite in root}
    assert set(suites) == {"engine11", "engine12", "gateway1"}
    cases = {str(case.get("name"))[:6].strip(): case for case in suites["engine11"]}
    assert [child.tag for child in cases["ENG-01"]] == ["failure"]
    assert "VLLM_SERVER_DEV_MODE" in str(cases["ENG-01"][0].text)
    skipped = [case[0].get("message", "") for suite in root for case in suite if len(case) and case[0].tag == "skipped"]
    assert any(
        message.startswith("not checked: users could not be looked at: permission denied") for message in skipped
    )
    assert any(message.startswith("waived: ") for message in skipped)
    counted = PLAIN["summary"]["outcomes"]
    assert root.get("failures") == str(counted["failed"])
    assert root.get("tests") == str(sum(counted.values()))
    assert ElementTree.fromstring(FORMATS["junit"](result(hostile=True))) is not None  # noqa: S314 - likewise


def test_text_says_it_in_lines_that_no_terminal_acts_on() -> None:
    lines = FORMATS["text"](PLAIN).splitlines()
    assert lines[0].startswith("Failed: ")
    assert any(line.startswith("error [ENG-01 env-dev-mode] engine11: ") and line.endswith("(new)") for line in lines)
    assert any(line.startswith("not checked [HOST-03] engine11: users could not be looked at") for line in lines)
    assert any(line.startswith("gone [ENG-17] engine11: ProtectSystem of ") for line in lines)
    assert "waiver NET-05 is unused (last day 2026-12-31)" in lines
    assert "\x1b" not in FORMATS["text"](result(hostile=True))


class Page(HTMLParser):
    """Collects what a browser would make of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_what_was_found_never_becomes_markup() -> None:
    plain, hostile = Page(FORMATS["html"](PLAIN)), Page(FORMATS["html"](result(hostile=True)))
    assert "<script>alert(1)</script>" in hostile.text
    assert "{{ 7*7 }}" in hostile.text
    assert {tag for tag, _attributes in hostile.tags} == {tag for tag, _attributes in plain.tags}
    for _tag, attributes in hostile.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "action")]


def test_the_page_needs_nothing_else() -> None:
    page = Page(FORMATS["html"](PLAIN))
    assert not {"script", "img", "link", "iframe", "object", "embed", "form", "base"} & {tag for tag, _a in page.tags}
    assert all(str(link["href"]).startswith("#") for link in page.named("a"))
    text = FORMATS["html"](PLAIN)
    assert not re.search(r"url\(|@import|https?://", text)
    (policy,) = [one["content"] for one in page.named("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_the_page_is_for_screen_readers_too() -> None:
    text = FORMATS["html"](PLAIN)
    page = Page(text)
    tags = [tag for tag, _attributes in page.tags]
    assert page.named("html") == [{"lang": "en-GB"}]
    assert [tags.count(tag) for tag in ("h1", "main", "header", "nav", "footer", "title")] == [1] * 6
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert tags.count("caption") == tags.count("table")
    assert all(one.get("scope") in ("col", "row") for one in page.named("th"))
    ids = [str(attributes["id"]) for _tag, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _tag, attributes in page.tags:
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids
    assert {str(link["href"])[1:] for link in page.named("a")} <= set(ids)
    # A cell that is not as planned says so in words.
    assert "open, should be closed" in page.text


def _luminance(colour: str) -> float:
    text = colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
    parts = [int(text[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_have_contrast() -> None:
    """4.5 to 1, as WCAG 2.2 asks of text (1.4.3), on the paper and on the shade of tables' heads."""
    text = FORMATS["html"](PLAIN)
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6});", text))
    for name in ("ink", "quiet", "bad", "warn", "good"):
        for ground in ("paper", "shade"):
            high, low = sorted((_luminance(colours[name]), _luminance(colours[ground])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)


def test_the_page_says_what_the_result_says() -> None:
    page = Page(FORMATS["html"](PLAIN))
    assert PLAIN["verdict"]["sentence"] in page.text
    for one in PLAIN["findings"]:
        assert one["remedy"] in page.text
        assert one["found"] in page.text
    for one in PLAIN["outcomes"]:
        if one["outcome"] == "not checked":
            assert "; ".join(one["why"]) in page.text
    assert "None of this counts as passed." in page.text
    assert "platform team" in page.text


def test_digests_are_what_sha256sum_reads() -> None:
    text = "ä\n"
    assert digests({"b.json": "{}", "a.html": text}).splitlines() == [
        f"{hashlib.sha256(text.encode()).hexdigest()}  a.html",
        f"{hashlib.sha256(b'{}').hexdigest()}  b.json",
    ]
