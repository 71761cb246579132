#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall
short_description: Put a host's nftables table in force without locking anybody out
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Renders a policy as one nftables table (C(inet hardened_vllm)) and puts it in force, with the file and the systemd
    unit that bring it back at boot, and kernel settings, in one remote execution. Other tables are never touched.
  - The rules are checked by C(nft -c) and loaded in one transaction, so there is no moment without rules and
    established streams stay.
  - When nothing but addresses differ, elements of sets are added and deleted and the table stays, with its counters.
  - A change takes itself back on the host after O(grace_seconds), also after a reboot and when the controller is gone,
    unless a fresh login confirms it with O(state=confirmed).
  - When the table in the kernel is not the one that was applied (flushed or edited by another hand), it is applied
    again.
options:
  state:
    description:
      - V(present) applies and arms the way back when anything differs, and does nothing otherwise.
      - V(confirmed) makes the armed change stay. It fails when the change was taken back already, and when it comes
        over the connection that made the change.
      - V(absent) removes the table, files and unit and puts back the kernel settings recorded before the first change.
    type: str
    choices: [present, confirmed, absent]
    default: present
  listeners:
    description:
      - What is opened to whom; everything else is dropped.
      - Keys are C(name), C(protocol) (tcp or udp), C(ports) (C(8000), C(40000-44999)), C(interface) (null for any),
        C(from) (names from O(sets)), C(control), C(why), and for tcp C(per_source), how many connections one address (of IPv6
        one /64) may hold at the same time (null for any number).
    type: list
    elements: dict
    default: []
  egress:
    description:
      - Whom the accounts of O(callers) may call; everything else is refused to them.
      - >-
        Keys are C(name), C(caller) (engine, when left out, or media), C(to) and C(except) (names from O(sets); the second
        is left out of the first), C(protocol), C(ports), C(control) and C(why).
    type: list
    elements: dict
    default: []
  callers:
    description:
      - >-
        Accounts that may call nobody but whom O(egress) names, by caller (C(engine), C(media)), each with its C(uid) and, as
        C(own_ports), the ports of this host that its processes call on the loopback interface.
      - A caller that is left out is not held back.
    type: dict
    default: {}
  fabric:
    description: Interface of the fabric, on which alone the sources of the set C(fabric) of O(sets) may come in.
    type: str
  quarantine:
    description:
      - Whether the host is in quarantine. O(listeners) are then the doors that stay open, answers to them are all that leaves
        the host, streams that were open end, and nothing is forwarded.
    type: bool
    default: false
  sets:
    description: Named sources and destinations, each a dictionary with the lists C(ipv4) and C(ipv6) of addresses and networks.
    type: dict
    default: {}
  log_per_minute:
    description: Refused packets logged in a minute at most, for each chain that refuses.
    type: int
    default: 10
  ping_per_second:
    description: Echo requests answered in a second at most, for each family of addresses.
    type: int
    default: 20
  sysctl:
    description: Kernel settings by name.
    type: dict
    default: {}
  unit:
    description: >-
      Content of the systemd unit that loads O(rules_path) at boot; it is enabled by its C(WantedBy=). Needed for
      O(state=present).
    type: str
  drop_ins:
    description:
      - Settings added to other units, by unit name; they go to C(50-hardened-vllm-firewall.conf) of that unit.
      - For services that empty the whole rule set, so that the table follows at once.
    type: dict
    default: {}
  keep_operator:
    description: Whether the far end of the SSH connection this run came in on is let in when the policy does not do so.
    type: bool
    default: true
  grace_seconds:
    description: Seconds until an unconfirmed change takes itself back, from 10 to 3600.
    type: int
    default: 60
  rules_path:
    description: File the rules are kept in.
    type: path
    default: /etc/hardened-vllm/firewall.nft
  sysctl_path:
    description: File the kernel settings are kept in.
    type: path
    default: /etc/sysctl.d/90-hardened-vllm.conf
  unit_name:
    description: Name of the systemd unit.
    type: str
    default: hardened-vllm-firewall.service
  state_path:
    description: Directory of this module's records on the host.
    type: path
    default: /var/lib/hardened-vllm/firewall
attributes:
  check_mode:
    support: full
    description: Says what would change; C(nft -c) checks the rules where nft is installed.
  diff_mode:
    support: full
    description: Shows in words who may reach what before and after.
requirements:
  - nftables on the host
  - systemd as the init of the host
"""

EXAMPLES = r"""
- name: Put the policy in force
  hardened.vllm.firewall:
    unit: "{{ lookup('ansible.builtin.template', 'etc/systemd/system/hardened-vllm-firewall.service.j2') }}"
    listeners:
      - name: api
        protocol: tcp
        ports: "8000"
        interface: eth0
        from: [gateways]
        control: NET-02
        why: API for the gateways
    sets:
      gateways:
        ipv4: [10.203.1.20]
        ipv6: []
  register: firewall

- name: Drop the connection that made the change
  ansible.builtin.meta: reset_connection

- name: Confirm it over a fresh one
  hardened.vllm.firewall:
    state: confirmed

- name: Remove everything
  hardened.vllm.firewall:
    state: absent
"""

RETURN = r"""
reasons:
  description: Why the host was not as wanted; empty when nothing was to do.
  returned: when O(state) is V(present) or V(absent)
  type: list
  elements: str
  sample: ["the table is not in the kernel", "/etc/hardened-vllm/firewall.nft differs"]
changes:
  description: The difference of the policies in words.
  returned: when O(state) is V(present) or V(absent)
  type: list
  elements: str
  sample:
    - "added: gateways may reach tcp 8000 on eth0 (api, API for the gateways; NET-02)"
    - "added: gateways is 10.203.1.20"
table:
  description: >-
    What was done, or in check mode would be done, to the table in the kernel. V(updated) means by elements of its sets
    alone, so that rules, handles and counters stayed.
  returned: when O(state=present)
  type: str
  choices: [kept, updated, replaced]
  sample: updated
pending:
  description: Whether a change waits for its confirmation.
  returned: always
  type: bool
operator:
  description: >-
    Address and port let in for the live connection only, C(null) when the policy itself lets it in or there is none.
  returned: when O(state=present)
  type: dict
  sample: {address: 10.203.2.1, port: 22}
taken_back:
  description: When an earlier change took itself back (UTC), C(null) when none did since the last run.
  returned: when O(state=present)
  type: str
  sample: "2026-11-23T18:20:31Z"
closes:
  description: Listening sockets the policy has no listener for; nobody outside will reach them.
  returned: when O(state=present) and something differs
  type: list
  elements: str
  sample: ["node_exporter: tcp 9100"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import firewall_words, probe_network
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_apply import Firewall, Request
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_host import FAILURES
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_remove import Removal
from ansible_collections.hardened.vllm.plugins.module_utils.probe_common import Unknown

LARGEST_RATE = 100000


def known(fact):
    """Return the value of a probe's fact, None when it cannot be had."""
    try:
        return fact()
    except Unknown:  # then the operator is let in by address, whatever the interface
        return None


def present(module, firewall, connection):
    """Apply; the result of the module."""
    params = module.params
    names = [name for name in Request.__annotations__ if name in params]
    request = Request(
        connection=connection,
        links=known(probe_network.interfaces),
        **{name: params[name] for name in names},
    )
    result = firewall.present(request, module.check_mode)
    if result["changed"]:
        result["closes"] = firewall_words.closes(
            {"listeners": params["listeners"]}, known(probe_network.listeners) or []
        )
    return result


def main():
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "confirmed", "absent"], "default": "present"},
            "listeners": {"type": "list", "elements": "dict", "default": []},
            "egress": {"type": "list", "elements": "dict", "default": []},
            "callers": {"type": "dict", "default": {}},
            "fabric": {"type": "str"},
            "quarantine": {"type": "bool", "default": False},
            "sets": {"type": "dict", "default": {}},
            "log_per_minute": {"type": "int", "default": 10},
            "ping_per_second": {"type": "int", "default": 20},
            "sysctl": {"type": "dict", "default": {}},
            "unit": {"type": "str"},
            "drop_ins": {"type": "dict", "default": {}},
            "keep_operator": {"type": "bool", "default": True},
            "grace_seconds": {"type": "int", "default": 60},
            "rules_path": {"type": "path", "default": "/etc/hardened-vllm/firewall.nft"},
            "sysctl_path": {"type": "path", "default": "/etc/sysctl.d/90-hardened-vllm.conf"},
            "unit_name": {"type": "str", "default": "hardened-vllm-firewall.service"},
            "state_path": {"type": "path", "default": "/var/lib/hardened-vllm/firewall"},
        },
        required_if=[("state", "present", ("unit",))],
        supports_check_mode=True,
    )
    params = module.params
    if not 10 <= params["grace_seconds"] <= 3600:
        module.fail_json(msg="grace_seconds: found %d, expected 10 to 3600." % params["grace_seconds"])
    for name in ("log_per_minute", "ping_per_second"):
        if not 1 <= params[name] <= LARGEST_RATE:
            module.fail_json(msg="%s: found %d, expected 1 to %d." % (name, params[name], LARGEST_RATE))
    places = [params[key] for key in ("rules_path", "sysctl_path", "unit_name", "state_path")]
    try:
        connection = probe_network.operator()
        if params["state"] == "present":
            result = present(module, Firewall(*places), connection)
        elif params["state"] == "confirmed":
            result = Firewall(*places).confirmed(connection, module.check_mode)
        else:
            result = Removal(*places).absent(module.check_mode)
    except (*FAILURES, Unknown) as error:
        module.fail_json(msg="firewall: %s" % error)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
