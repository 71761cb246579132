# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of this scenario share: the modules run on a node without Ansible around them, planted faults, the judge."""

from __future__ import annotations

import base64
import datetime
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit import questions
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.gathering import gathered
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.judge import judge
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.waivers import read
from lab.testing import Console

SCENARIO = Path(__file__).parent
ROOT = SCENARIO.parents[1]
FAULTS: list[dict[str, Any]] = yaml.safe_load((SCENARIO / "files/faults.yml").read_text(encoding="utf-8"))
HOSTS = ("engine1", "engine2", "gateway", "stranger", "foreign")
PLACES = {
    "engine2": "peer",
    "gateway": "gateway",
    "monitor": "monitor",
    "observer": "observer",
    "stranger": "stranger",
}
# All a fault opens is among these; the scan of every port is tested once, in test_1_clean.py.
PORTS = "22,443,8000-8001,8081,8265,9000-9001,9100,9443,9999"
WAIVED = [
    {
        "rule": "release-old",
        "reason": "a stand-in",
        "owner": "tests",
        "expires": str(datetime.date.today() + datetime.timedelta(days=30)),
    }
]

# Runs a module's own function on a node; the program comes in over standard input and leaves no file.
_RUN = """
import base64, json, os, sys
given = json.load(sys.stdin)
handle = os.memfd_create("modules")
os.write(handle, base64.b64decode(given["archive"]))
sys.path.insert(0, "/proc/self/fd/%d" % handle)
module = __import__("ansible_collections.hardened.vllm.plugins.modules." + given["module"], fromlist=["collect"])
print(json.dumps(module.collect(given["params"])))
"""
_NAMES = {
    "$ENGINE": "hardened-vllm-engine.service",
    "$GATEWAY": "hardened-vllm-gateway.service",
    "$UNITS": "/etc/systemd/system",
    "$NGINX": "/etc/hardened-vllm/gateway",
}


@cache
def archive() -> str:
    """Return the modules and what they import as a zip file in base64, with an AnsibleModule that nobody calls."""
    plugins = "ansible_collections/hardened/vllm/plugins"
    files = {f"{plugins}/{path.relative_to(ROOT / 'plugins')}": path.read_text(encoding="utf-8") for path in _sources()}
    packages = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
    files |= {f"{package}/__init__.py": "" for package in packages}
    files |= {
        "ansible/__init__.py": "",
        "ansible/module_utils/__init__.py": "",
        "ansible/module_utils/basic.py": "AnsibleModule = None\n",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as written:
        for name, text in sorted(files.items()):
            written.writestr(name, text)
    return base64.b64encode(buffer.getvalue()).decode()


def _sources() -> list[Path]:
    plugins = ROOT / "plugins"
    return [
        *plugins.glob("modules/audit_*.py"),
        *plugins.glob("module_utils/audit_*.py"),
        *plugins.glob("module_utils/firewall_common.py"),
        *plugins.glob("module_utils/probe_*.py"),
    ]


def collect(node: Console, module: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Run a module of the audit on a node and return its evidence."""
    given = json.dumps({"archive": archive(), "module": module, "params": params})
    found: dict[str, Any] = json.loads(node.run("python3", "-c", _RUN, given=given))
    return found


@dataclass
class Audit:
    """The lab's audit: what should be, and the evidence taken so far, each part of which may be taken again."""

    node: Callable[[str], Console]
    standing: Mapping[str, Any]
    authority: str
    keys: Mapping[str, str]
    looks: dict[str, Any] = field(default_factory=dict)
    reaches: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)

    def look(self, *names: str) -> None:
        """Take the evidence of hosts again."""
        params = {"paths": [], "trees": [], "sysctl": [], "packages": ["nginx"]}
        with ThreadPoolExecutor(4) as pool:
            for name, found in zip(
                names, pool.map(lambda name: collect(self.node(name), "audit_host", params), names), strict=True
            ):
                self.looks[name] = {"evidence": found}

    def reach(self, *names: str) -> None:
        """Scan again from these places."""
        with ThreadPoolExecutor(4) as pool:
            for name, found in zip(names, pool.map(self._reach, names), strict=True):
                self.reaches[name] = {"evidence": found}

    def _reach(self, name: str) -> dict[str, Any]:
        targets = questions.targets(
            name, PLACES[name], self.hosts, self.standing["declared"], self.standing["plans"], PORTS
        )
        limits = {"rate": 5000, "at_once": 2000, "timeout": 0.8, "limit": 60}
        return collect(
            self.node(name), "audit_reach", {"observer": name, "standing": PLACES[name], "targets": targets, **limits}
        )

    def ask(self, place: str = "observer") -> None:
        """Ask the servers again from a place: the observer asks for routes, a gateway looks at its engines."""
        reach = [found["evidence"] for found in self.reaches.values()]
        key = next(iter(self.keys), None)
        asked = questions.asks(place, self.hosts, self.standing["plans"], reach, key)
        # One address of the gateway is enough for what does not depend on it.
        endpoints = [{"tls": "auto", **one} for one in asked["endpoints"] if ":" not in one["address"]]
        params = {
            "observer": place,
            "standing": PLACES[place],
            "authority": self.authority,
            "keys": self.keys,
            "at_once": 16,
            "rate": 400,
            "timeout": 5,
            "limit": 300,
        }
        found = collect(
            self.node(place), "audit_routes", {**params, "endpoints": endpoints, "requests": asked["requests"]}
        )
        self.answers[place] = {"evidence": found}

    @property
    def hosts(self) -> dict[str, Any]:
        """Evidence of the hosts by name."""
        return {name: found["evidence"] for name, found in self.looks.items()}

    def everything(self) -> None:
        """Take all of it."""
        self.look(*HOSTS)
        self.reach(*PLACES)
        self.ask()
        self.ask("gateway")

    def copy(self) -> Audit:
        """Return an audit with the same evidence, to be taken again in parts."""
        parts = {name: dict(getattr(self, name)) for name in ("looks", "reaches", "answers")}
        return Audit(self.node, self.standing, self.authority, self.keys, **parts)

    def result(self, waived: Sequence[Mapping[str, Any]] = WAIVED) -> dict[str, Any]:
        """Return what the judge says about it."""
        now = datetime.datetime.now(datetime.UTC)
        evidence = gathered(self.looks, self.reaches, self.answers, now)
        digests = {digest: name for name, digest in self.standing["digests"].items()}
        return judge(evidence, self.standing["plans"], read(waived), digests, now.date())

    def findings(self, waived: Sequence[Mapping[str, Any]] = WAIVED) -> list[dict[str, Any]]:
        """Return the findings of the cluster's hosts that no waiver covers."""
        found = self.result(waived)["findings"]
        return [one for one in found if not one["waived"] and one["host"] not in ("foreign", "stranger")]


def signature(finding: Mapping[str, Any]) -> str:
    """Return what tells a finding from every other on its host, as found.yml names it."""
    rule = f" {finding['rule']}" if finding["rule"] else ""
    return f"{finding['control']}{rule}: {finding['place']}"


def told(findings: Sequence[Mapping[str, Any]]) -> str:
    """Return findings as lines for a failed test."""
    return "\n".join(f"{one['control']} {one['host']} {one['message']}" for one in findings)


class Fault:
    """One entry of faults.yml: planted, and undone whatever happened in between."""

    def __init__(
        self, entry: Mapping[str, Any], node: Callable[[str], Console], upstream_key: str, tls: Mapping[str, str]
    ) -> None:
        self.entry = entry
        self.host = entry.get("node", "engine1")
        self.console = node(self.host)
        self.upstream_key = upstream_key
        self.tls = tls

    def named(self, text: str) -> str:
        """Return ``text`` with names in place of what stands for them."""
        for short, name in _NAMES.items():
            text = text.replace(short, name)
        return text.replace("$UPSTREAM_KEY", self.upstream_key)

    def plant(self) -> None:
        """Do it."""
        entry = self.entry
        if {"argv", "drop", "environment", "unit"} & set(entry):
            self._edit_engine()
        for name, edits in entry.get("nginx", {}).items():
            words = " ".join(f"-e '{edit}'" for edit in edits)
            self.console.shell(self.named(f"cp -a $NGINX/{name} /run/{name}.was && sed -i {words} $NGINX/{name}"))
        if "certificate" in entry:
            self.console.shell(self.named("cp -a $NGINX/tls.crt /run/tls.crt.was"))
            self.console.run("sh", "-c", self.named("cat > $NGINX/tls.crt"), given=self.tls["expired"])
        if "nginx" in entry or "certificate" in entry:
            self._reload()
        if "shell" in entry:
            self.console.shell(self.named(entry["shell"]))
        if entry.get("waits"):
            self.console.shell("for _ in $(seq 50); do ss -ltn | grep -q ':8000 ' && exit 0; sleep 0.2; done; exit 1")

    def undo(self) -> None:
        """Take it back."""
        entry = self.entry
        if {"argv", "drop", "environment", "unit"} & set(entry):
            self.console.shell(
                self.named(
                    "cp -a /run/unit.was $UNITS/$ENGINE; cp -a /run/env.was /etc/hardened-vllm/engine/engine.env"
                )
            )
            self._restart()
        for name in [*entry.get("nginx", {}), *(["tls.crt"] if "certificate" in entry else [])]:
            self.console.shell(self.named(f"cp -a /run/{name}.was $NGINX/{name}"))
        if "nginx" in entry or "certificate" in entry:
            self._reload()
        if "undo" in entry:
            self.console.shell(self.named(entry["undo"]))

    def _edit_engine(self) -> None:
        self.console.shell(
            self.named("cp -a $UNITS/$ENGINE /run/unit.was; cp -a /etc/hardened-vllm/engine/engine.env /run/env.was")
        )
        unit = self.console.run("cat", "/run/unit.was").splitlines()
        lines = [self._command(line) if line.startswith("ExecStart=") else line for line in unit]
        for name, value in self.entry.get("unit", {}).items():
            lines = [line for line in lines if not line.startswith(f"{name}=")]
            lines.insert(lines.index("[Service]") + 1, f"{name}={value}")
        self.console.run("sh", "-c", self.named("cat > $UNITS/$ENGINE"), given="\n".join(lines) + "\n")
        wanted: Mapping[str, str | None] = self.entry.get("environment", {})
        if wanted:
            kept = [
                line
                for line in self.console.run("cat", "/run/env.was").splitlines()
                if line.partition("=")[0] not in wanted
            ]
            kept += [f'{name}="{self.named(value)}"' for name, value in wanted.items() if value is not None]
            self.console.run("sh", "-c", "cat > /etc/hardened-vllm/engine/engine.env", given="\n".join(kept) + "\n")
        self._restart()

    def _command(self, line: str) -> str:
        words = line.split(" ")
        for name in self.entry.get("drop", ()):
            place = words.index(name)
            end = place + 1
            while end < len(words) and not words[end].startswith(("--", '"--')):
                end += 1
            del words[place:end]
        escaped = [self.named(word).replace("\\", "\\\\").replace('"', '\\"') for word in self.entry.get("argv", ())]
        return " ".join([*words, *(f'"{word}"' for word in escaped)])

    def _restart(self) -> None:
        self.console.shell(
            self.named("systemctl daemon-reload; systemctl reset-failed $ENGINE; systemctl restart $ENGINE")
        )

    def _reload(self) -> None:
        # A fresh start, so that no worker of before answers, and no limit of before counts.
        self.console.shell(self.named("systemctl reset-failed $GATEWAY; systemctl restart $GATEWAY"))
