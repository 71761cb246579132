# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the host's firewall, its files and kernel settings to what is wanted, and makes that stay."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass

from ansible_collections.hardened.vllm.plugins.module_utils import (
    commands,
    files,
    firewall_kernel,
    firewall_policy,
    firewall_rules,
    firewall_sysctl,
    firewall_words,
)
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_common import FirewallProblem
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_host import (
    FAILURES,
    Host,
    file_state,
    make_directory,
    same,
)

NO_NFT = "the program nft is not on this host; install the package nftables"


@dataclass(frozen=True)
class Request:
    """What is asked for; the fields are the options of the module.

    ``connection`` is the SSH connection of this run and ``links`` are the interfaces, both as the probe gives them.
    Either may be None.
    """

    listeners: list
    egress: list
    callers: dict
    fabric: str | None
    sets: dict
    log_per_minute: int
    ping_per_second: int
    sysctl: dict
    unit: str
    drop_ins: dict
    grace_seconds: int
    keep_operator: bool
    connection: dict | None
    links: list | None

    def operator(self, policy):
        """{address, port} of the live connection when it is to be let in beside the policy, else None."""
        if not self.keep_operator or self.connection is None:
            return None
        interface = None
        for link in self.links or []:
            if self.connection["local_address"] in [entry["address"] for entry in link["addresses"]]:
                interface = link["name"]
        address, port = self.connection["address"], self.connection["local_port"]
        if firewall_policy.admits(policy, address, port, interface):
            return None
        return {"address": address, "port": port}


class Firewall(Host):
    """The firewall as it is to be."""

    def present(self, request, check_mode):
        """Apply and arm the way back.

        Returns a dictionary as the module documents; after a FirewallProblem the old state is in force.
        """
        policy = firewall_policy.checked(request.listeners, request.sets, request.egress, request.fabric)
        policy["operator"] = request.operator(policy)
        values = firewall_sysctl.checked(request.sysctl)
        callers = firewall_policy.checked_callers(request.callers, policy)
        rules = firewall_rules.render(policy, callers, request.log_per_minute, request.ping_per_second)
        wanted = self._wanted(request, rules.text(), values)
        if self.nft is None and not check_mode:
            raise FirewallProblem(NO_NFT)
        with self._lock(check_mode):
            open_change = self.way.open_change()
            if open_change and not check_mode:
                self.way.take_back()
                self.way.taken_back_at(forget=True)
            taken_back = self.way.taken_back_at(forget=not check_mode)
            applied = self._json(self.applied_path)
            kept = self._json(self.before_path)
            in_force = firewall_kernel.fingerprint(self.nft) if self.nft else None
            reasons = self._reasons(wanted, values, kept, applied, policy, in_force)
            result = self._described(applied, policy, values, reasons)
            result.update(operator=policy["operator"], taken_back=taken_back, pending=False, table="kept")
            if open_change:
                result["changed"] = True
                result["reasons"] = ["an earlier change was never confirmed, it is taken back first", *reasons]
            if not reasons:
                return result
            step, text = self._transaction(rules, applied, in_force)
            result["table"] = step
            # The whole is what the next boot loads.
            for each in sorted({rules.text(), text}):
                self._check_text(each, check_mode)
            if check_mode:
                return result
            record = {"format": 1, "policy": policy, "sysctl": values, **self._identity(rules)}
            self._commit(request, text, wanted, values, kept, record)
            result["pending"] = True
            return result

    @staticmethod
    def _identity(rules):
        """Return what the next run has to know of a table to change it by its elements."""
        structure = hashlib.sha256(rules.structure.encode("utf-8")).hexdigest()
        return {"structure": structure, "elements": rules.elements}

    def _transaction(self, rules, applied, in_force):
        """(`kept`, `updated` or `replaced`, the text that makes it so) for the table in the kernel.

        A table of the same structure that nobody else has touched keeps its rules, their handles and counters: only
        elements are added and deleted.
        """
        untouched = in_force is not None and in_force == applied.get("fingerprint")
        if not untouched or applied.get("structure") != self._identity(rules)["structure"]:
            return "replaced", rules.text()
        text = rules.update(applied["elements"])
        return ("updated" if text else "kept"), text

    def _wanted(self, request, text, values):
        """Every path that is ours and what has to be there."""
        conflicts = firewall_sysctl.overrides(values, self.sysctl_path)
        if conflicts:
            raise FirewallProblem(
                "sysctl: at boot %s would be overridden: %s. Remove these lines, they sort after our file."
                % (self.sysctl_path, "; ".join(conflicts))
            )
        wanted = {path: files.State(files.ABSENT) for path in self._links_and_drop_ins()}
        wanted[self.rules_path] = file_state(text, 0o600)
        wanted[self.unit_path] = file_state(request.unit, 0o644)
        for path in self._links(request.unit):
            wanted[path] = files.State(files.LINK, os.fsencode(self.unit_path))
        for unit, content in request.drop_ins.items():
            wanted[self._drop_in(unit)] = file_state(content, 0o644)
        content = firewall_sysctl.content(values)
        wanted[self.sysctl_path] = files.State(files.ABSENT) if content is None else file_state(content, 0o644)
        return wanted

    def _reasons(self, wanted, values, kept, applied, policy, in_force):
        """Why the host is not as wanted; empty when nothing is to do."""
        if in_force is None and not applied:
            return ["no firewall of ours is in force on this host"]
        reasons = []
        if in_force is None:
            reasons.append("the table is not in the kernel")
        elif in_force != applied.get("fingerprint"):
            reasons.append("the table in the kernel is not the one that was applied: another hand changed it")
        for path in sorted(wanted):
            if not same(files.read_state(path), wanted[path]):
                reasons.append("%s differs" % path)
        for name in sorted(values):
            now = firewall_sysctl.read(name)
            if now != firewall_sysctl.normal(name, values[name]):
                reasons.append("kernel setting %s is %s" % (name, now or "empty"))
        reasons.extend("kernel setting %s is no longer ours" % name for name in sorted(kept) if name not in values)
        if os.path.exists(self.unit_path) and not self._active():
            reasons.append("%s is not active" % self.unit_name)
        if applied.get("policy") != policy:
            reasons.append("the recorded policy differs")
        return reasons

    def _described(self, applied, policy, values, reasons):
        before = firewall_words.words(applied.get("policy"), applied.get("sysctl", {}))
        after = firewall_words.words(policy, values)
        notes = ["not as wanted: " + reason for reason in reasons]
        return {
            "changed": bool(reasons),
            "reasons": reasons,
            "changes": firewall_words.changes(before, after),
            "diff": {
                "before_header": "who may reach this host",
                "after_header": "who may reach this host",
                "before": "".join(line + "\n" for line in notes + before) if reasons else "",
                "after": "".join(line + "\n" for line in after) if reasons else "",
            },
        }

    def _check_text(self, text, check_mode):
        if self.nft is None:
            return
        if check_mode:
            # Nothing may be left on the host: nft reads the text from a file that lives in memory only.
            descriptor = os.memfd_create("hardened-vllm-firewall", 0)
            try:
                os.write(descriptor, text.encode("utf-8"))
                firewall_kernel.check(self.nft, "/proc/%d/fd/%d" % (os.getpid(), descriptor))
            finally:
                os.close(descriptor)
            return
        candidate = self._candidate(text)
        try:
            firewall_kernel.check(self.nft, candidate)
        finally:
            os.unlink(candidate)

    def _commit(self, request, text, wanted, values, kept, record):
        before = dict(kept)
        for name in values:
            before.setdefault(name, firewall_sysctl.read(name))
        settings = dict(values)
        settings.update({name: before.pop(name) for name in kept if name not in values})
        wanted = {**wanted, self.before_path: file_state(json.dumps(before, sort_keys=True), 0o600)}
        self.way.prepare(
            firewall_kernel.dump(self.nft),
            [*wanted, self.applied_path],
            {name: firewall_sysctl.read(name) for name in settings},
            {"connection": request.connection, "grace_seconds": request.grace_seconds},
        )
        try:
            self.way.arm(request.grace_seconds)
            self._load(text)
            for name in settings:
                firewall_sysctl.write(name, settings[name])
            for path in wanted:
                if wanted[path].kind != files.ABSENT:
                    make_directory(os.path.dirname(path), 0o755)
                files.become(path, wanted[path])
            commands.run(["systemctl", "daemon-reload"], timeout=60)
            record["fingerprint"] = firewall_kernel.fingerprint(self.nft)
            files.become(self.applied_path, file_state(json.dumps(record, sort_keys=True), 0o600))
        except FAILURES as error:
            self._undo(error)

    def confirmed(self, connection, check_mode):
        """Make the open change stay; only a connection that was opened after it may do so."""
        result = {"changed": False, "pending": False}
        if check_mode:
            result.update(changed=self.way.open_change() is not None)
            return result
        with files.exclusive():
            self.way.wait_until_taken_back()
            moment = self.way.taken_back_at()
            if self.way.open_change() is None:
                if moment:
                    raise self._too_late(moment)
                return result
            about = self.way.about()
            if connection is not None and about["connection"] == connection:
                raise FirewallProblem(
                    "the confirmation came over the very connection that made the change (from %s port %d), "
                    "which proves nothing; reset the connection first. The old rules come back within %d seconds."
                    % (connection["address"], connection["port"], about["grace_seconds"])
                )
            if not self.way.confirm():
                self.way.wait_until_taken_back()
                raise self._too_late(self.way.taken_back_at())
            commands.run(["systemctl", "start", self.unit_name], timeout=60)
            result["changed"] = True
            return result

    @staticmethod
    def _too_late(moment):
        return FirewallProblem(
            "the change was taken back at %s: no fresh login confirmed it within the grace time, the old rules are in "
            "force. See whether the policy lets the controller in (ssh listener, operators), or raise grace_seconds."
            % moment
        )
