#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardened.vllm.engine_ready."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_ready
short_description: Find out whether an engine really generates
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Optionally starts the unit, then watches it and, on the node with the API, asks for one token from every
    data-parallel rank. An answer of C(/health) is no proof and is not asked for.
  - Looks for O(wait_seconds) at most, so that the nodes of one engine can be judged together between two looks.
  - Stops at once when the unit fails or restarts.
  - Never fails for an engine that is not ready; RV(progress) and RV(problem) say how it stands.
options:
  unit:
    description: Name of the engine's unit.
    type: str
    required: true
  start:
    description: Start the unit first, without waiting for it. The unit has to be stopped.
    type: bool
    default: false
  fresh:
    description: The unit was started by this run, so that any restart of it is a failure.
    type: bool
    default: false
  api:
    description:
      - Where the API of this node listens, by address and port or by socket. Without it (headless node), the unit has to run,
        no more.
    type: dict
    suboptions:
      address:
        description: IP address.
        type: str
      port:
        description: TCP port.
        type: int
      socket:
        description: Path of a unix socket.
        type: path
  tls:
    description: How the API speaks TLS; plain HTTP when left out.
    type: dict
    suboptions:
      authority:
        description: File of the certificates (PEM) its certificate has to lead to.
        type: path
        required: true
      name:
        description: Name its certificate has to be for.
        type: str
        required: true
      client:
        description: File of a certificate and its key (PEM) to show, when the API demands one.
        type: path
  model:
    description: Name under which the model is served. Required with O(api).
    type: str
  key_file:
    description: Configuration file of vLLM on this node that holds the API key.
    type: path
    default: /etc/hardened-vllm/engine/secrets.yaml
  ranks:
    description: Number of data-parallel ranks behind the API.
    type: int
    default: 1
  wait_seconds:
    description: How long to look, in seconds.
    type: int
    default: 30
  expected:
    description:
      - What RV(likelihood) was before a change. An engine that judges the text otherwise has failed, however well it answers.
      - Needs O(api). Empty compares nothing.
    type: list
    elements: float
    default: []
  tolerance:
    description:
      - How far RV(likelihood) may be from O(expected), as the mean over the tokens of the text, in nats. Other kernels for
        the same weights differ by hundredths.
    type: float
    default: 0.25
  measure:
    description: Return RV(likelihood) of a ready engine. An engine that does not tell it is ready all the same.
    type: bool
    default: false
  seconds_left:
    description: When no more than O(wait_seconds) are left, an engine that is still not ready counts as failed.
    type: int
    default: 600
attributes:
  check_mode:
    description: Reports whether it would start the unit and asks for nothing.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Wait for a token from both ranks
  hardened.vllm.engine_ready:
    unit: hardened-vllm-engine.service
    api: {address: 192.0.2.11, port: 8000}
    model: smollm2
    ranks: 2
    wait_seconds: 300
    seconds_left: 300
"""

RETURN = r"""
progress:
  description: V(ready), V(waiting) or V(failed).
  returned: always
  type: str
problem:
  description: What is missing or went wrong and what to do about it, empty when ready.
  returned: always
  type: str
journal:
  description: The last lines of the unit's journal, with the keys masked.
  returned: always, empty unless failed
  type: list
  elements: str
tokens:
  description: Tokens generated for this call, by rank.
  returned: always
  type: dict
  sample: {"0": 1, "1": 1}
likelihood:
  description: How likely the engine finds each token of a fixed text, as natural logarithms; empty when not asked for.
  returned: always
  type: list
  elements: float
age:
  description: Seconds since the process was started, 0 when it does not run.
  returned: always
  type: float
seconds:
  description: How long this call took.
  returned: always
  type: float
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import commands, engine_api, engine_unit

PAUSE = 1.0
REQUEST_SECONDS = 60.0
METRICS_SECONDS = 5.0
JOURNAL_HINT = "journalctl --unit %s"


class NotReadyError(Exception):
    """The engine will not become ready by waiting. The text is for the user."""


class Watch:
    """One look at an engine: the unit's health and the tokens its ranks gave so far."""

    def __init__(self, params):
        self.params = params
        self.tokens = {}
        self.missing = "the unit has not started yet"
        self.likelihood = []
        self.key = engine_api.read_keys(params["key_file"])[0] if params["api"] else None
        self._restarts = None

    def look(self):
        """Return True when ready. Raises NotReadyError when it never will be."""
        unit = engine_unit.show(self.params["unit"])
        self._check(unit)
        if not unit.running:
            self.missing = "the unit is %s (%s)" % (unit.active, unit.sub)
            return False
        if not self.params["api"]:
            return True
        ranks = range(self.params["ranks"])
        if not all(rank in self.tokens or self._generates(rank) for rank in ranks):
            return False
        if self.params["expected"]:
            return all(self._compare(rank) for rank in ranks)
        if self.params["measure"]:
            self.likelihood = self._judge(0)[0]
        return True

    def _judge(self, rank):
        api, target = self.params["api"], rank if self.params["ranks"] > 1 else None
        return engine_api.likelihood(api, self.params["model"], self.key, target, REQUEST_SECONDS, self.params["tls"])

    def _compare(self, rank):
        """Whether the rank judges the text as it was judged before. Raises NotReadyError when it does not."""
        expected, tolerance = self.params["expected"], self.params["tolerance"]
        self.likelihood, why = self._judge(rank)
        if not self.likelihood:
            self.missing = "rank %d generates, but cannot be compared with what served before: %s" % (rank, why)
            return False
        remedy = "If the change is meant to bring another model, turn the comparison off (upgrade_compare=false)"
        if len(self.likelihood) != len(expected):
            raise NotReadyError(
                "rank %d generates, but not as before: it reads a fixed text as %d tokens, %d were expected. %s"
                % (rank, len(self.likelihood), len(expected), remedy)
            )
        distance = sum(abs(self.likelihood[place] - there) for place, there in enumerate(expected)) / len(expected)
        # Not "distance > tolerance", which is false for NaN, what broken weights give.
        if not distance <= tolerance:
            raise NotReadyError(
                "rank %d generates, but not as before: it judges a fixed text differently, by %.2f nats a token (%.2f are"
                " allowed). %s" % (rank, distance, tolerance, remedy)
            )
        return True

    def _check(self, unit):
        ended = unit.ended()
        if ended:
            raise NotReadyError(ended)
        if self._restarts is None:
            self._restarts = 0 if self.params["fresh"] else unit.restarts
        if unit.restarts > self._restarts:
            raise NotReadyError("the process ended and was restarted by systemd (%d times)" % unit.restarts)

    def _generates(self, rank):
        api, model, ranks = self.params["api"], self.params["model"], self.params["ranks"]
        target = rank if ranks > 1 else None
        tls = self.params["tls"]
        before = engine_api.tokens_by_rank(api, tls=tls) if ranks > 1 else {}
        answer = engine_api.generate(api, model, self.key, target, REQUEST_SECONDS, tls)
        if answer.status == 401:
            raise NotReadyError(
                "its API refuses the key in %s; something else listens there or the process started with another"
                " configuration" % self.params["key_file"]
            )
        if answer.status == 404:
            raise NotReadyError("its API does not serve a model called %s: %s" % (model, answer.text))
        if not answer.tokens:
            self.missing = "no token from rank %d: %s" % (rank, self._say(answer))
            return False
        if ranks > 1 and not self._counted(rank, before.get(rank, 0)):
            self.missing = "the API answered, but its metrics show no new token of rank %d" % rank
            return False
        self.tokens[rank] = answer.tokens
        return True

    def _counted(self, rank, before):
        """Whether the rank's own counter grew: the answer alone does not tell which rank gave it."""
        api = self.params["api"]
        deadline = time.monotonic() + METRICS_SECONDS
        while time.monotonic() < deadline:
            if engine_api.tokens_by_rank(api, tls=self.params["tls"]).get(rank, 0) > before:
                return True
            time.sleep(PAUSE / 4)
        return False

    @staticmethod
    def _say(answer):
        return answer.text if answer.status is None else "HTTP status %d, %s" % (answer.status, answer.text)


def watch(params, begun):
    """Return the result of one look as a dict; the journal is added by the caller."""
    watcher = Watch(params)
    deadline = begun + params["wait_seconds"]
    while True:
        try:
            if watcher.look():
                return {"progress": "ready", "problem": "", "tokens": watcher.tokens, "likelihood": watcher.likelihood}
        except NotReadyError as failure:
            return {"progress": "failed", "problem": str(failure), "tokens": watcher.tokens}
        if time.monotonic() + PAUSE >= deadline:
            break
        time.sleep(PAUSE)
    if params["seconds_left"] <= params["wait_seconds"]:
        problem = "not ready in the time it has; %s" % watcher.missing
        return {"progress": "failed", "problem": problem, "tokens": watcher.tokens}
    return {"progress": "waiting", "problem": watcher.missing, "tokens": watcher.tokens}


def evidence(params):
    """Return the journal's last lines for a failure. The key is masked although vLLM does not log it."""
    tail, causes = engine_unit.journal(params["unit"])
    lines = causes + (["..."] if causes else []) + tail
    try:
        keys = engine_api.read_keys(params["key_file"]) if params["api"] else []
    except engine_api.KeyFileError:
        keys = []  # then they are not known here and cannot be masked; the failure itself names the file
    for key in keys:
        lines = [line.replace(key, "<secret>") for line in lines]
    return lines


def run(params):
    """Start the unit where asked for, look at it and return the module's result."""
    begun = time.monotonic()
    try:
        if params["start"]:
            engine_unit.start(params["unit"])
        result = watch(params, begun)
    except (commands.CommandError, engine_api.KeyFileError) as error:
        result = {"progress": "failed", "problem": str(error), "tokens": {}}
    result["journal"] = evidence(params) if result["progress"] == "failed" else []
    if result["journal"]:
        result["problem"] += ". More: %s on this host" % (JOURNAL_HINT % params["unit"])
    result["seconds"] = round(time.monotonic() - begun, 1)
    result.setdefault("likelihood", [])
    result["age"] = engine_unit.age(params["unit"])
    return result


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "start": {"type": "bool", "default": False},
            "fresh": {"type": "bool", "default": False},
            "api": engine_api.API,
            "tls": {
                "type": "dict",
                "options": {
                    "authority": {"type": "path", "required": True},
                    "name": {"type": "str", "required": True},
                    "client": {"type": "path"},
                },
            },
            "model": {"type": "str"},
            "key_file": {"type": "path", "default": "/etc/hardened-vllm/engine/secrets.yaml", "no_log": False},
            "ranks": {"type": "int", "default": 1},
            "wait_seconds": {"type": "int", "default": 30},
            "expected": {"type": "list", "elements": "float", "default": []},
            "tolerance": {"type": "float", "default": 0.25},
            "measure": {"type": "bool", "default": False},
            "seconds_left": {"type": "int", "default": 600},
        },
        required_by={"api": ("model",)},
        supports_check_mode=True,
    )
    changed = module.params["start"]
    if module.check_mode:
        module.exit_json(
            changed=changed, progress="ready", problem="", journal=[], tokens={}, likelihood=[], age=0.0, seconds=0.0
        )
    module.exit_json(changed=changed, **run(module.params))


if __name__ == "__main__":
    main()
