# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules that look at more than one value of a process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ..problems import Severity
from .command import Command, Given, json_of
from .conditions import loopback, network_path, truthy, wildcard
from .texts import Note, Process, Text
from .traits import on

KEY_LENGTH = 32
_PLACEHOLDERS = re.compile(
    r"(?ix) (sk-|token-|key-)? ("
    r"none|null|empty|test|demo|changeme|secret|password|token|key|apikey|example|placeholder|dummy|foo|bar|todo|fake|vllm"
    r"|(your|my|some|insert|replace|change|put|enter|a|the)[-_ ][\w -]*"
    r"|<.*>|\$?\{+.*\}+|(?P<same>.)(?P=same)*|(abc|xyz)[-_\w]{0,8}|[01]?23\d*|1234\w{0,12})?"
)
_TELEMETRY = ("VLLM_NO_USAGE_STATS", "VLLM_DO_NOT_TRACK", "DO_NOT_TRACK")
_CACHES = ("VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT", "VLLM_ASSETS_CACHE", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
_COPIED = ("VLLM_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass(frozen=True)
class _Case:
    process: Process
    command: Command
    options: Mapping[str, Given]
    traits: frozenset[str]
    whole_arguments: bool

    def place(self, part: str) -> str:
        return f"{self.process.where}.{part}" if self.process.where else part

    @property
    def whole(self) -> bool:
        return self.whole_arguments and self.process.whole_environment and not self.process.fragment


def cross_notes(
    process: Process, command: Command, options: Mapping[str, Given], traits: frozenset[str], whole_arguments: bool
) -> Iterator[Note]:
    """Yield what the values of a process mean together."""
    case = _Case(process, command, options, traits, whole_arguments)
    for check in _CHECKS:
        yield from check(case)


def _keys(case: _Case) -> Iterator[Note]:
    if "http" not in case.traits:
        return
    if case.process.keyless is not None:
        found = f"{case.process.keyless}, a server for demonstrations, which asks for no key"
        yield Note("api-key", case.process.keyless, case.place("argv"), found, remedy="Start vllm serve instead.")
        return
    option = case.options.get("api-key")
    value = case.process.environment.get("VLLM_API_KEY")
    if option is not None and option.values:
        yield from _judged(case, list(option.values), option.written, "argv.--api-key")
    elif value is not None:
        yield from _judged(case, [value], value, "environment.VLLM_API_KEY")
    elif case.whole:
        severity = Severity.WARNING if "uds" in case.traits else None
        yield Note("api-key", case.process.at, case.place("api-key"), "a server without any key", severity=severity)


def _judged(case: _Case, keys: list[Text], at: Text, part: str) -> Iterator[Note]:
    if any(not key.known for key in keys):
        return
    if not any(keys):
        yield Note("api-key-empty", at, case.place(part), "an empty key")
    for key in keys:
        if key and _PLACEHOLDERS.fullmatch(key):
            yield Note("api-key-weak", at, case.place(part), "a placeholder (not shown)")
        elif key and len(key) < KEY_LENGTH:
            yield Note("api-key-weak", at, case.place(part), f"a key of {len(key)} characters (not shown)")


def _tls(case: _Case) -> Iterator[Note]:
    if "http" not in case.traits or "uds" in case.traits or not case.whole_arguments or case.process.fragment:
        return
    host = case.options.get("host")
    if on(case.options, "ssl-certfile") or (host is not None and (not host.known or any(map(loopback, host.values)))):
        return
    at = host.written if host is not None else case.process.at
    severity = Severity.INFO if "own-network" in case.traits else None
    yield Note("tls-missing", at, case.place("argv.--ssl-certfile"), "plain HTTP", severity=severity)


def _config(case: _Case) -> Iterator[Note]:
    for option in case.command.options:
        if option.name == "config" and (option.equals or option.written != "--config"):
            found = f"{option.written}=..." if option.equals else f"{option.written} instead of --config"
            yield Note("arg-config-form", option.written, case.place("argv.--config"), found)


def _replaced(case: _Case) -> Iterator[Note]:
    dotted = {option.name for option in case.command.options if option.dotted}
    for option in case.command.options:
        if option.name in dotted and not option.dotted:
            found = f"{option.written} as JSON and by fields"
            yield Note("arg-json-replaced", option.written, case.place(f"argv.--{option.name}"), found)


def _events(case: _Case) -> Iterator[Note]:
    option = case.options.get("kv-events-config")
    events = json_of(option)
    if option is None or not isinstance(events, dict) or not events.get("enable_kv_cache_events"):
        return
    endpoint = str(events.get("endpoint", "tcp://*:5557"))
    if wildcard(endpoint) and not endpoint.endswith(":0"):
        found = f"endpoint {endpoint}" + ("" if "endpoint" in events else ", the default")
        yield Note("kv-events", option.written, case.place("argv.--kv-events-config.endpoint"), found)


def _telemetry(case: _Case) -> Iterator[Note]:
    environment = case.process.environment
    given = [environment[name] for name in _TELEMETRY if name in environment]
    if any(not value.known or truthy(value) for value in given):
        return
    place = case.place("environment.VLLM_NO_USAGE_STATS")
    if given:
        yield Note("env-telemetry", given[0], place, f"{given[0]!r}, which leaves usage statistics on")
    elif case.process.whole_environment and not case.process.fragment and not case.process.only_arguments:
        yield Note("env-telemetry", case.process.at, place, "nothing")


def _ray(case: _Case) -> Iterator[Note]:
    if "ray" not in case.traits:
        return
    environment = case.process.environment
    mode = environment.get("RAY_AUTH_MODE")
    if (mode is None and case.process.whole_environment) or (mode is not None and mode.known and mode != "token"):
        at = mode if mode is not None else case.process.at
        found = "nothing" if mode is None else f"RAY_AUTH_MODE={str(mode)[:40]!r}"
        yield Note("ray-auth", at, case.place("environment.RAY_AUTH_MODE"), found)
    for name in _COPIED:
        if environment.get(name):
            yield Note("ray-secrets", environment[name], case.place(f"environment.{name}"), f"{name} (not shown)")


def _ray_idle(case: _Case) -> Iterator[Note]:
    node = case.process.ray
    backend = case.options.get("distributed-executor-backend")
    if node is None or "ray" in case.traits or not case.whole_arguments or case.process.fragment:
        return
    chosen = "" if backend is None else " ".join(backend.values)
    if backend is not None and (not backend.known or chosen not in ("mp", "uni")):
        # A class of somebody's own may well use it.
        return
    found = f"a node of Ray, and {'no --distributed-executor-backend' if backend is None else f'{backend.written} {chosen}'}"
    yield Note("ray-idle", node, case.place("argv.--distributed-executor-backend"), found)


def _caches(case: _Case) -> Iterator[Note]:
    process = case.process
    if process.fragment and not process.environment:
        return
    for name, directory in _cache_directories(case):
        if not directory.known:
            continue
        share, there = process.share(directory), process.on_host(directory)
        if share is None and there is not None and there.known and network_path(there):
            share = there
        if share is not None:
            found = f"{directory}" + ("" if share == directory else f" on {str(share)[:60]}")
            yield Note("cache-network", share, case.place(f"environment.{name}"), found)


def _cache_directories(case: _Case) -> Iterator[tuple[str, Text]]:
    """Yield the directories of pickles that are named, and in a container the one that is used unnamed."""
    process = case.process
    for name in _CACHES:
        value = process.environment.get(name)
        if value:
            yield name, value
    if "VLLM_CACHE_ROOT" not in process.environment and process.mounts is not None and not process.fragment:
        base, home = process.environment.get("XDG_CACHE_HOME"), process.environment.get("HOME")
        cache = base or (home.become(f"{home}/.cache") if home else process.at.become("/root/.cache", known=True))
        yield "VLLM_CACHE_ROOT", cache.become(f"{cache}/vllm")


_CHECKS: tuple[Callable[[_Case], Iterator[Note]], ...] = (
    _keys,
    _tls,
    _config,
    _replaced,
    _events,
    _telemetry,
    _ray,
    _ray_idle,
    _caches,
)
