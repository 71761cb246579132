#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_reach
short_description: Say which ports of other hosts this host can reach
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
extends_documentation_fragment: [hardened.vllm.audit, hardened.vllm.audit.place]
description:
  - Tries to connect to every port asked for, from the host it runs on, in one remote execution. Nothing is sent over a connection that is
    made; it is reset at once. UDP ports get one small datagram.
  - The number of new connections a second, of connections at a time and the time of the whole are bounded. Ports it does not come to are
    told as C(untried); addresses no route leads to are named in C(unknown).
options:
  targets:
    description: What to look at.
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
      tcp:
        description: "TCP ports such as C(22,8000,40000-44999); empty for none."
        type: str
        default: 1-65535
      udp:
        description: UDP ports, as for C(tcp).
        type: str
        default: ""
  rate:
    description: New connections a second at most, over all targets.
    type: int
    default: 20000
  at_once:
    description: Connections at a time at most; the limit of open files of the process lowers it.
    type: int
    default: 16000
  timeout:
    description: Seconds after which a port that says nothing is filtered. The kernel repeats an unanswered attempt after one second.
    type: float
    default: 1.5
  limit:
    description: Seconds after which the whole scan ends; the rest is told as untried.
    type: float
    default: 300
"""

EXAMPLES = r"""
- name: See what is open
  hardened.vllm.audit_reach:
    observer: "{{ inventory_hostname }}"
    targets:
      - {host: gateway, address: 203.0.113.20}
      - {host: gateway, address: "2001:db8::20", udp: "443"}
  register: looked
"""

RETURN = r"""
evidence:
  description: What was reached, as C(ReachEvidence) in C(plugins/plugin_utils/audit/evidence.py) describes it.
  returned: always
  type: dict
  sample:
    format: 1
    kind: reach
    observer: outside
    standing: observer
    sources: [203.0.113.30]
    taken: "2026-11-25T14:40:00Z"
    seconds: 5.2
    reached:
      - {host: gateway, address: 203.0.113.20, protocol: tcp, open: [443], refused: "", filtered: "1-442,444-65535", untried: "", reason: null}
    unknown: []
"""

import ipaddress
import itertools
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import audit_place, audit_scan

QUESTION = b"\x00"
PROTOCOLS = ("tcp", "udp")


def targets_of(asked):
    """Return ``(host, address, {"tcp": [port, ...], "udp": [...]})`` of each target. Raises ValueError for what is none."""
    found = []
    for index, target in enumerate(asked):
        try:
            address = str(ipaddress.ip_address(target["address"]))
            ports = {name: audit_scan.ports_of(target[name]) for name in PROTOCOLS}
        except ValueError as error:
            raise ValueError("targets[%d] (%s): %s" % (index, target["host"], error)) from None
        found.append((target["host"], address, ports))
    return found


def turns(targets):
    """Yield every (address, port) for TCP so that each address takes its turn: no single host sees them all at once."""
    columns = [[(address, port) for port in ports["tcp"]] for _host, address, ports in targets]
    for row in itertools.zip_longest(*columns):
        yield from (target for target in row if target is not None)


def reached(host, address, protocol, ports, states):
    """Return one address and protocol as evidence."""
    by_state = {
        name: [port for port in ports if states.get((address, port)) == name]
        for name in ("open", "refused", "filtered")
    }
    untried = [port for port in ports if (address, port) not in states]
    return {
        "host": host,
        "address": address,
        "protocol": protocol,
        "open": by_state["open"],
        "refused": audit_scan.ranges(by_state["refused"]),
        "filtered": audit_scan.ranges(by_state["filtered"]),
        "untried": audit_scan.ranges(untried),
        "reason": "the time for the scan was over" if untried else None,
    }


def collect(params):
    """Return the evidence. Raises ValueError for targets that are none."""
    started = time.time()
    targets = targets_of(params["targets"])
    sources = {address: audit_scan.source(address) for _host, address, _ports in targets}
    routed = [target for target in targets if sources[target[1]] is not None]
    scan = audit_scan.Scan(params["rate"], params["timeout"], params["limit"], params["at_once"])
    states = {
        "tcp": scan.tcp(turns(routed)),
        "udp": scan.udp([(address, port) for _host, address, ports in routed for port in ports["udp"]], QUESTION),
    }
    return audit_place.document(
        "reach",
        params,
        started,
        sources=sorted({own for own in sources.values() if own is not None}),
        reached=[
            reached(host, address, protocol, ports[protocol], states[protocol])
            for host, address, ports in routed
            for protocol in PROTOCOLS
            if ports[protocol]
        ],
        unknown=[
            {"fact": "reached:%s" % address, "reason": "no route leads there from %s" % params["observer"]}
            for address, own in sorted(sources.items())
            if own is None
        ],
    )


def main():
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            **audit_place.PLACE,
            "targets": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "host": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "tcp": {"type": "str", "default": "1-65535"},
                    "udp": {"type": "str", "default": ""},
                },
            },
            "rate": {"type": "int", "default": 20000},
            "at_once": {"type": "int", "default": 16000},
            "timeout": {"type": "float", "default": 1.5},
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
