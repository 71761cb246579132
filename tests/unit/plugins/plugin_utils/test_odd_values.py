# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever stands in a declaration, the answer is findings."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import InvalidDeclarationError, plan, validate
from ansible_collections.hardened.vllm.plugins.plugin_utils.declaration.kinds import Record
from ansible_collections.hardened.vllm.plugins.plugin_utils.declaration.schema import CLUSTER
from ansible_collections.hardened.vllm.plugins.plugin_utils.problems import Severity
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mistakes import put
from support.properties import furnished
from support.topologies import TOPOLOGIES, declaration

from .conftest import TODAY

ODD = [
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    float("nan"),
    "",
    " ",
    "\0",
    "é",
    "٣",
    "::/0",
    "fe80::1%eth0",
    "1" * 5000,
    "40000-99999",
]
ODD += [
    [],
    {},
    [None],
    [[]],
    [{}],
    {"a": None},
    {1: 2},
    ["x"],
    b"x",
    "2026-13-01",
    "{{ x }}",
    {"file": []},
    "a\nb",
    TODAY,
]


def keys(record: Record, path: str) -> Iterator[str]:
    for name, field in record.fields.items():
        yield f"{path}/{name}"
        if isinstance(field.kind, Record):
            yield from keys(field.kind, f"{path}/{name}")


def places(value: Any, path: str) -> Iterator[str]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in parts:
        yield f"{path}/{name}"
        yield from places(inner, f"{path}/{name}")


@given(st.data(), st.sampled_from(sorted(TOPOLOGIES)))
@settings(max_examples=100, deadline=None)
def test_odd_values_anywhere_are_findings_and_no_tracebacks(data: st.DataObject, name: str) -> None:
    cluster, hosts = furnished(*declaration(name))
    where = [*keys(CLUSTER, "cluster"), *places(cluster, "cluster"), *places(hosts, "hosts")]
    for path in data.draw(st.lists(st.sampled_from(where), min_size=1, max_size=3)):
        with contextlib.suppress(
            TypeError, AttributeError, KeyError, IndexError
        ):  # below an odd value there is nothing
            put(path, copy.deepcopy(data.draw(st.sampled_from(ODD))))(cluster, hosts)
    found = validate(cluster, hosts, TODAY)
    assert [problem.sentence() for problem in found] == [problem.sentence() for problem in sorted(found)]
    if any(problem.severity is Severity.ERROR for problem in found):
        with pytest.raises(InvalidDeclarationError):
            plan(cluster, hosts, TODAY)
    else:
        assert json.loads(json.dumps(plan(cluster, hosts, TODAY)))["format"]
