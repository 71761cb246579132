# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the plan settles elsewhere is not said about it; everything else is."""

from __future__ import annotations

from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.asked import lint_input
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.lint import lint

ARGV = ["serve", "/m", "--host", "10.20.1.11", "--nnodes", "2", "--master-addr", "10.20.1.11", "--trust-remote-code"]
SETTLED = {"api-key", "arg-media-items", "env-interface", "tls-missing"}


def test_the_plan_is_judged_without_what_it_settles_elsewhere() -> None:
    planned = {problem.rule for problem in lint(ARGV, {})}
    given = {finding.rule for finding in lint_input({"argv": ARGV, "environment": {}})}
    assert given - planned == SETTLED
    assert "arg-remote-code" in planned


def test_paths_begin_where_the_caller_says() -> None:
    assert all(problem.path.startswith("hosts.engine1.engine.") for problem in lint(ARGV, {}, "hosts.engine1.engine"))
