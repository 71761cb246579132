#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_routes
short_description: Ask HTTP servers for routes and say how they answered
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
extends_documentation_fragment: [hardened.vllm.audit, hardened.vllm.audit.place]
description:
  - Sends requests byte for byte, targets as they are written, from the host it runs on, in one remote execution; looks at TLS and certificate of each
    server.
  - Of an answer it keeps the status, a few headers and one word for the kind of the body. Keys are never in the result.
  - A request with a body sends C({}), which every route of vLLM that takes one refuses as invalid.
options:
  endpoints:
    description: The servers.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: Name of the host in the inventory, for the evidence.
        type: str
        required: true
      address:
        description: IPv4 or IPv6 address.
        type: str
        required: true
      port:
        description: TCP port.
        type: int
        required: true
      tls:
        description: >-
          Whether to speak TLS: C(auto) finds out.
        type: str
        choices: [auto, "yes", "no"]
        default: auto
      server_name:
        description: Name the server is called by, in TLS and as C(Host); the address when empty.
        type: str
        default: ""
      ask:
        description: Names of the sets of requests to send.
        type: list
        elements: str
        default: []
  requests:
    description: >-
      Sets of requests by name. Each request is a mapping with C(method), C(path) (the route's name), C(target) (what is sent), C(form) (C(plain) or the
      name of the disguise), C(key) (C(none), C(wrong) or a name in O(keys)) and, where wanted, C(headers) (a mapping), C(per_minute) (how many such
      requests the server takes from one source in a minute, kept for 40 seconds; the rest is then sent anyway) and C(last) (true for what is sent when
      everything else was answered).
    type: dict
    default: {}
  keys:
    description: Keys by the names requests use.
    type: dict
    default: {}
  authority:
    description: Certificates (PEM) of the authorities that are trusted; those of this host's system when empty.
    type: str
    default: ""
  at_once:
    description: Requests at a time.
    type: int
    default: 16
  rate:
    description: Requests a second at most.
    type: int
    default: 200
  timeout:
    description: Seconds to wait for an answer.
    type: float
    default: 5
  limit:
    description: Seconds after which asking ends. Of a server that was not asked everything by then no answer is told; C(unknown) names it.
    type: float
    default: 300
"""

EXAMPLES = r"""
- name: See whether the metrics are open
  hardened.vllm.audit_routes:
    observer: "{{ inventory_hostname }}"
    endpoints:
      - {host: gateway, address: 203.0.113.20, port: 443, server_name: llm.example.org, ask: [closed]}
    requests:
      closed:
        - {method: GET, path: /metrics, target: /metrics, form: plain, key: none}
        - {method: GET, path: /metrics, target: /v1/../metrics, form: dots, key: none}
  register: looked
"""

RETURN = r"""
evidence:
  description: The answers, as C(RoutesEvidence) in C(plugins/plugin_utils/audit/evidence.py) describes it.
  returned: always
  type: dict
  sample:
    format: 1
    kind: routes
    observer: outside
    standing: observer
    taken: "2026-11-25T14:40:00Z"
    seconds: 1.2
    endpoints: []
    answers:
      - id: 10.20.3.20:443/closed/0
        host: gateway
        address: 203.0.113.20
        port: 443
        method: GET
        path: /metrics
        target: /metrics
        form: plain
        key: none
        status: 404
        headers: {content-type: application/json}
        body: error
        bytes: 312
        seconds: 0.004
        error: null
    unknown: []
"""

import itertools
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import audit_http, audit_pace, audit_place, audit_tls

ASKED = ("method", "path", "target", "form", "key")
PLAIN = {"method": "GET", "path": "/", "target": "/", "form": "plain", "key": "none"}


def look_at(endpoint, authority, timeout, deadline):
    """Return an endpoint as evidence: its TLS, and whether it takes HTTP without; None when the time is over."""
    if time.monotonic() > deadline:
        return None
    found = {
        "host": endpoint["host"],
        "address": endpoint["address"],
        "port": endpoint["port"],
        "tls": False,
        "protocol": None,
        "cipher": None,
        "certificate": None,
        "speaks": dict.fromkeys(audit_tls.PROTOCOLS, None),
        "error": None,
    }
    if endpoint["tls"] != "no":
        try:
            found.update(
                audit_tls.look(endpoint["address"], endpoint["port"], endpoint["server_name"], authority, timeout),
                tls=True,
            )
        except (OSError, ValueError) as error:
            found["error"] = str(error)
    answer = audit_http.ask({**endpoint, "tls": False}, PLAIN, "", timeout)
    # nginx answers 400 to HTTP on a port for TLS, which is a refusal in plain words.
    found["speaks"]["plain"] = answer["status"] is not None and not (found["tls"] and answer["status"] == 400)
    if found["speaks"]["plain"] and endpoint["tls"] == "auto":
        found["error"] = None
    return found


def collect(params):
    """Return the evidence. Raises ValueError for a set, a key or a request that is not as documented."""
    started = time.time()
    keys = {"none": "", "wrong": "sk-wrong-%s" % secrets.token_hex(16), **params["keys"]}
    check(params, keys)
    pace = audit_pace.Pace(params["rate"])
    deadline = time.monotonic() + params["limit"]
    asked = in_turns((endpoint["host"], endpoint) for endpoint in params["endpoints"])
    with ThreadPoolExecutor(params["at_once"]) as pool:
        looks = list(pool.map(lambda one: look_at(one, params["authority"], params["timeout"], deadline), asked))
        jobs = []
        for endpoint, seen in zip(asked, looks):  # noqa: B905 - strict needs Python 3.10
            if seen is not None and (seen["tls"] or seen["speaks"]["plain"]):
                target = {**endpoint, "tls": seen["tls"]}
                for name in endpoint["ask"]:
                    for index, request in enumerate(params["requests"][name]):
                        jobs.append((endpoint["host"], (target, "%s/%d" % (name, index), request)))
        jobs = in_turns(jobs)
        answers = audit_pace.done(
            pool, pace, jobs, lambda turn, job: answer_of(turn, keys, params["timeout"], deadline, *job)
        )
    # Half of the answers of a server would look like the whole.
    late = {(one["address"], one["port"]) for one, seen in zip(asked, looks) if seen is None}  # noqa: B905
    late |= {(job[0]["address"], job[0]["port"]) for job, answer in zip(jobs, answers) if answer is None}  # noqa: B905
    endpoints = [seen for seen in looks if seen is not None]
    silent = {
        (seen["address"], seen["port"]): "neither TLS nor HTTP is spoken there: %s" % (seen["error"] or "no answer")
        for seen in endpoints
        if not seen["tls"] and not seen["speaks"]["plain"]
    }
    reasons = {**silent, **dict.fromkeys(late, "the time for asking was over")}
    return audit_place.document(
        "routes",
        params,
        started,
        endpoints=endpoints,
        answers=[one for one in answers if one is not None and (one["address"], one["port"]) not in late],
        unknown=[{"fact": "answers:%s:%d" % at, "reason": reason} for at, reason in sorted(reasons.items())],
    )


def in_turns(named):
    """Return what follows each name so that the names take turns: who has a lot holds nobody else up."""
    columns = {}
    for name, item in named:
        columns.setdefault(name, []).append(item)
    rows = itertools.zip_longest(*columns.values())
    return [item for row in rows for item in row if item is not None]


def answer_of(pace, keys, timeout, deadline, endpoint, number, request):
    """Ask, and return the answer as evidence; None when the time is over."""
    if time.monotonic() > deadline:
        return None
    pace.wait()
    answer = audit_http.ask(endpoint, request, keys[request["key"]], timeout)
    place = {name: endpoint[name] for name in ("host", "address", "port")}
    return {
        "id": "%s:%d/%s" % (endpoint["address"], endpoint["port"], number),
        **place,
        **{name: request[name] for name in ASKED},
        **answer,
    }


def check(params, keys):
    """Raise ValueError for what was not asked as documented."""
    for name, asked in params["requests"].items():
        if not isinstance(asked, list):
            raise ValueError("requests.%s: found %s, expected a list" % (name, type(asked).__name__))
        for index, request in enumerate(asked):
            missing = [key for key in ASKED if not isinstance(request, dict) or not isinstance(request.get(key), str)]
            if missing:
                raise ValueError("requests.%s[%d]: expected texts for %s" % (name, index, ", ".join(missing)))
            if not isinstance(request.get("per_minute", 1), int) or request.get("per_minute", 1) < 1:
                raise ValueError("requests.%s[%d].per_minute: expected a whole number from 1" % (name, index))
            if request["key"] not in keys:
                raise ValueError("requests.%s[%d].key: there is no key of this name; give it in keys" % (name, index))
    for index, endpoint in enumerate(params["endpoints"]):
        unknown = [name for name in endpoint["ask"] if name not in params["requests"]]
        if unknown:
            raise ValueError("endpoints[%d].ask: requests has no set %s" % (index, ", ".join(unknown)))


def main():
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            **audit_place.PLACE,
            "endpoints": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "host": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                    "tls": {"type": "str", "choices": ["auto", "yes", "no"], "default": "auto"},
                    "server_name": {"type": "str", "default": ""},
                    "ask": {"type": "list", "elements": "str", "default": []},
                },
            },
            "requests": {"type": "dict", "default": {}},
            "keys": {"type": "dict", "default": {}, "no_log": True},
            "authority": {"type": "str", "default": ""},
            "at_once": {"type": "int", "default": 16},
            "rate": {"type": "int", "default": 200},
            "timeout": {"type": "float", "default": 5},
            "limit": {"type": "float", "default": 300},
        },
        supports_check_mode=True,
    )
    try:
        evidence = collect(module.params)
    except ValueError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, evidence=evidence)


if __name__ == "__main__":
    main()
