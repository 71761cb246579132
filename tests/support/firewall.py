# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules of the role isolation, rendered without a host."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jinja2
from ansible.plugins.filter.core import FilterModule

TEMPLATE = Path(__file__).parents[2] / "roles/isolation/templates/etc/hardened-vllm/firewall.nft.j2"


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(  # noqa: S701 # rules are no HTML
        trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["flatten"] = FilterModule().filters()["flatten"]
    return environment.from_string(TEMPLATE.read_text())


def render(given_plan: dict[str, Any]) -> str:
    """Return the rules of ``{"cluster": plan, "host": plan of one host}``, as Ansible's template lookup makes them."""
    return _template().render(
        isolation_plan=given_plan,
        isolation_log_per_minute=10,
        isolation_ping_per_second=20,
        __isolation_uid=997,
        __isolation_media_uid=996,
    )
