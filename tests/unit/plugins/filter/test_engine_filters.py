# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hardened.vllm.plugins.filter.engine_failure import engine_failure
from ansible_collections.hardened.vllm.plugins.filter.engine_verdict import engine_verdict
from ansible_collections.hardened.vllm.plugins.filter.quadlet_words import quadlet_words
from ansible_collections.hardened.vllm.plugins.filter.systemd_argv import systemd_argv
from ansible_collections.hardened.vllm.plugins.filter.systemd_devices import systemd_devices
from ansible_collections.hardened.vllm.plugins.filter.systemd_environment import systemd_environment

HOSTVARS = {
    "a": {"look": {"progress": "ready"}},
    "b": {"look": {"progress": "waiting", "problem": "loading"}},
    "c": {},
}


def test_the_verdict_reads_the_registered_results() -> None:
    assert engine_verdict(["a"], HOSTVARS, ["a"], "look")["progress"] == "ready"
    assert engine_verdict(["a", "b"], HOSTVARS, ["a", "b"], "look")["message"] == "b: loading"


@pytest.mark.parametrize(("nodes", "active"), [(["a"], []), (["a", "c"], ["a", "c"]), (["a", "z"], ["a", "z"])])
def test_a_node_that_left_the_play_or_gave_no_result_has_failed(nodes: list[str], active: list[str]) -> None:
    assert engine_verdict(nodes, HOSTVARS, active, "look")["progress"] == "failed"


def test_filters_write_for_systemd() -> None:
    assert systemd_argv(["/usr/bin/env", "a b"]) == ':/usr/bin/env "a b"'
    assert systemd_environment({"A": "1"}) == 'A="1"\n'
    assert systemd_devices(["/dev/kfd"]) == ["/dev/kfd rw"]
    assert quadlet_words(["-m", "A=5 $ 100% ${HOME}", ""]) == '-m "A=5 $$ 100%% $${HOME}" ""'


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: systemd_argv("ls -l"), "hardened.vllm.systemd_argv: expected a list of texts, found 'ls -l'"),
        (lambda: systemd_argv(["/bin/ls", 1]), "hardened.vllm.systemd_argv: expected a list of texts, found"),
        (lambda: systemd_argv(["ls"]), "hardened.vllm.systemd_argv: program 'ls' cannot start a systemd unit"),
        (lambda: systemd_environment([]), "hardened.vllm.systemd_environment: expected a dictionary, found"),
        (
            lambda: systemd_environment({"A": 1, "B": "x"}),
            "hardened.vllm.systemd_environment: the values of A are no texts; quote them",
        ),
        (lambda: systemd_environment({"A B": "x"}), "environment variable 'A B' has no valid name"),
        (lambda: systemd_devices(["/dev/nvidia*"]), "hardened.vllm.systemd_devices: device '/dev/nvidia*'"),
        (lambda: quadlet_words("ls -l"), "hardened.vllm.quadlet_words: expected a list of texts, found 'ls -l'"),
        (lambda: quadlet_words(["a\0"]), "hardened.vllm.quadlet_words: argument 'a\\x00' holds the control character"),
        (lambda: systemd_devices("x"), "hardened.vllm.systemd_devices: expected a list of texts"),
        (lambda: engine_verdict("a", HOSTVARS, [], "look"), "hardened.vllm.engine_verdict: expected a list of nodes"),
        (lambda: engine_verdict([], HOSTVARS, [], "look"), "hardened.vllm.engine_verdict: an engine without nodes"),
        (lambda: engine_failure(None, "chat"), "hardened.vllm.engine_failure: expected two texts"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        call()
    assert message in str(caught.value)
