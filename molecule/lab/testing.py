"""Pytest plugin of the scenarios: hosts over SSH, consoles past any firewall, reboots, journals of failed tests."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host as TestinfraHost

from lab import connections, credentials, inventory, labs, nodes
from lab.host import Host
from lab.paths import lab_directory
from lab.progress import Progress

JOURNAL = ("journalctl", "--boot", "--no-pager", "--quiet", "--lines=25", "--unit=hardened-vllm-*", "--unit=nginx")


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks of the scenarios' tests."""
    config.addinivalue_line("markers", "slow: minutes long; runs with TESTS=all in the environment")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the slow tests unless all are asked for; pytest counts them as deselected."""
    if os.environ.get("TESTS") == "all":
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


@dataclass(frozen=True)
class Console:
    """A node's console: commands run in it without a network, so no firewall is in the way."""

    lab: str
    name: str

    def start(self, *argv: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command with ``given`` on its standard input; return it ended, whatever its exit code."""
        command = [*_host().prefix, "podman", "exec", "--interactive", nodes.full_name(self.lab, self.name), *argv]
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False)

    def run(self, *argv: str, given: str = "") -> str:
        """Run a command that must succeed; return its standard output."""
        done = self.start(*argv, given=given)
        if done.returncode != 0:
            pytest.fail(f"{self.name}: exit code {done.returncode} from {shlex.join(argv)}\n{done.stdout}{done.stderr}")
        return done.stdout

    def shell(self, script: str) -> str:
        """Run a shell script that must succeed; return its standard output."""
        return self.run("sh", "-ec", script)


@cache
def _host() -> Host:
    return Host()


@pytest.fixture(scope="session")
def lab_name() -> str:
    """Return the name of the scenario's lab, which is the scenario's own."""
    return os.environ["MOLECULE_SCENARIO_NAME"]


@pytest.fixture(scope="session")
def lab_inventory(lab_name: str) -> Path:
    """Return the lab's inventory file, for a test that runs ansible-playbook itself."""
    return inventory.path(lab_name)


@pytest.fixture(scope="session")
def node(lab_name: str) -> Callable[[str], TestinfraHost]:
    """Return a function from a node's name to its testinfra host, reached over SSH as root."""
    spec = labs.saved(lab_name)
    secrets = credentials.Credentials(lab_directory(lab_name))

    @cache
    def connect(name: str) -> TestinfraHost:
        return testinfra.get_host(
            f"ssh://root@{spec.reached_by(spec.node(name))}",
            ssh_identity_file=str(secrets.ssh_key),
            ssh_extra_args=shlex.join(secrets.ssh_options()[2:]),
            # Doubled for testinfra, which formats the command it makes.
            controlpath=str(connections.control_path(lab_name)).replace("%", "%%"),
            controlpersist=60,
            timeout=20,
        )

    return connect


@pytest.fixture(scope="session")
def console(lab_name: str) -> Callable[[str], Console]:
    """Return a function from a node's name to its console."""
    spec = labs.saved(lab_name)
    return lambda name: Console(lab_name, spec.node(name).name)


@pytest.fixture(scope="session")
def reboot(lab_name: str) -> Callable[[str], None]:
    """Return a function that reboots a node and waits until it takes logins."""
    return lambda name: labs.restart(lab_name, name, Progress())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the journals of the units the collection manages to the report of a failed test."""
    report = yield
    if report.failed:
        lab = os.environ["MOLECULE_SCENARIO_NAME"]
        for each in labs.saved(lab).nodes:
            done = Console(lab, each.name).start(*JOURNAL)
            if text := (done.stdout + done.stderr).strip():
                report.sections.append((f"journal of {each.name}", text))
    return report


def wait_for(condition: Callable[[], bool], seconds: float, failure: str = "it did not come") -> float:
    """Seconds until the condition holds; a test failure when it does not in time."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            pytest.fail(f"{failure} within {seconds:g} seconds")
        time.sleep(0.3)
    return time.monotonic() - start
