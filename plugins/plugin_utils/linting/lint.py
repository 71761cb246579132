# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The linter: dangerous options and variables of one vLLM process, whoever started it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from .. import catalogue
from ..problems import Problem, masked
from . import releases
from .command import Given, json_of, parse
from .conditions import CONDITIONS
from .cross import cross_notes
from .finding import Finding, from_note, settled
from .rules import ValueRule, applicable, field_rules, option_rules, variable_rules
from .texts import Note, Process, Text, text
from .traits import traits

SECRET_NAMES = frozenset({"api-key", "hf-token"})
_VARIABLE = re.compile(r"\{\{[^{}]*\}\}|\$\{?\w+\}?|\$\([\w.]+\)|\$[@*]|%[a-zA-Z]")
# Names of variables that hold options, not a model.
_WORDS = re.compile(r"(?i)arg|opt|flag|param|extra|cmd|command|\$[@*]|\[[@*]\]")
_SECRET_NAME = re.compile(r"TOKEN|KEY|SECRET|PASSWORD")
_LISTED = 8
_UNVALUED = frozenset({"set", "given", "literal", "missing"})
# The plan answers these elsewhere: the key is in a file of its own, the fabric is closed to all but peers, it knows
# what kinds of media the model takes, and interfaces are added when hosts were probed.
SETTLED_BY_PLAN = frozenset({"api-key", "arg-media-items", "env-interface", "tls-missing"})

ConfigReader = Callable[[Text], Sequence[Text] | None]


def lint(
    argv: Sequence[str], environment: Mapping[str, str], where: str = "process", release: str | None = None
) -> list[Problem]:
    """Return the problems of a planned process, started as ``vllm`` with ``argv`` (from ``serve`` on).

    Values of secrets are never part of a problem. ``where`` starts every path; ``release`` is as for ``judge``.
    """
    process = process_of(argv, environment, where)
    return [finding.as_problem() for finding in judge(process, release=release) if finding.rule not in SETTLED_BY_PLAN]


def lint_part(
    argv: Sequence[str], environment: Mapping[str, str], where: str, release: str | None = None
) -> list[Problem]:
    """Return the problems of a part of a planned process, as ``lint``; what is missing there says nothing."""
    part = replace(process_of(argv, environment, where), fragment=True, whole_arguments=False)
    return [finding.as_problem() for finding in judge(part, release=release) if finding.rule not in SETTLED_BY_PLAN]


def process_of(argv: Sequence[str], environment: Mapping[str, str], where: str) -> Process:
    """Return the process started with ``argv`` (with or without ``vllm serve``) and ``environment``."""
    words = [text(str(word)) for word in argv]
    while words and words[0] in ("vllm", "serve"):
        words = words[1:]
    return Process(where, Text(""), words, {name: text(str(value)) for name, value in environment.items()})


def judge(
    process: Process, read_config: ConfigReader | None = None, release: str | None = None, path: str = ""
) -> list[Finding]:
    """Return what is wrong with ``process``, sorted.

    ``release`` is the one to judge by when the artefact names none; without it the newest known one is taken and
    nothing is said about its age. ``read_config`` returns the words of the file ``--config`` names.
    """
    return settled(_Judge(process, read_config, release, path).findings())


class _Judge:
    def __init__(self, process: Process, read_config: ConfigReader | None, release: str | None, path: str) -> None:
        self.process = process
        self.path = path
        self.release = releases.chosen(process.release, release)
        self.command = parse(process.argv, read_config, self.release.known)
        # A file that was read leaves no --config among the options.
        unread = any(option.name == "config" for option in self.command.options)
        self.options = self.command.last()
        self.whole_arguments = process.whole_arguments and not unread and all(word.known for word in self._spare())
        self.traits = traits(process, self.command, self.options, self.whole_arguments)

    def findings(self) -> Iterator[Finding]:
        notes = [*self._refusals(), *self._unresolved()]
        notes += cross_notes(self.process, self.command, self.options, self.traits, self.whole_arguments)
        notes += releases.variable_notes(self.process, self.release, self._place(""))
        notes += releases.field_notes(self.options, self.release, self._place(""))
        if self.release.named:
            notes += releases.age_notes(self.process, self.command, self.options, self.release, self.traits)
        for note in notes:
            yield from_note(note, self.path)
        for rule in applicable(option_rules, self.traits, self.release.version):
            if rule.condition == "missing" or rule.name in self.options:
                yield from self._option(rule)
        for rule in applicable(field_rules, self.traits, self.release.version):
            yield from self._field(rule)
        for rule in applicable(variable_rules, self.traits, self.release.version):
            if rule.condition == "missing" or rule.name in self.process.environment:
                yield from self._variable(rule)

    def _values(self) -> list[Text]:
        """Return the words that are values, but for those of secrets."""
        taken = [word for option in self.command.options if option.name not in SECRET_NAMES for word in option.values]
        return [*self.command.positional, *taken]

    def _spare(self) -> list[Text]:
        """Return the words that, were they not known, might stand for options."""
        positional = self.command.positional
        spare = list(positional if "model" in self.options else positional[1:])
        spare += [word for option in self.command.options for word in option.values[1:]]
        if positional and not spare and not positional[0].known and _WORDS.search(positional[0]):
            return [positional[0]]
        return spare

    def _place(self, part: str) -> str:
        return f"{self.process.where}.{part}" if self.process.where else part

    def _finding(self, rule: ValueRule, at: Text, part: str, found: str) -> Finding:
        return Finding(
            at.path or self.path,
            at.line,
            self._place(part),
            rule.rule,
            found,
            f"{'a setting' if rule.condition == 'missing' else 'another value'}, because {rule.why}",
            rule.remedy,
            rule.severity,
        )

    def _refusals(self) -> Iterator[Note]:
        for word in self.command.unknown:
            yield releases.unknown_option(word, self._place(f"argv.{word}"), self.release)
        for word in self.command.ambiguous:
            yield Note("arg-ambiguous", word, self._place("argv"), str(word))
        for word, why in self.command.refused:
            yield Note("arg-refused", word, self._place("argv"), _shown(word), expected=f"words vLLM accepts: {why}")

    def _unresolved(self) -> Iterator[Note]:
        judged_options, judged_variables = _judged_names()
        words = [word for option in self.command.options if option.name in judged_options for word in option.values]
        for word in words:
            if not word.known:
                yield Note("unresolved", word, self._place("argv"), f"{_missing(word)}, which is not given here")
        # What may hold options, and what no rule looks at (the name of a model for one), is worth a line each.
        spare = [word for word in self._spare() if not word.known and not _among(word, words)]
        if spare:
            yield Note("unresolved", spare[0], self._place("argv"), f"{_all_missing(spare)}, not given here")
        rest = [word for word in self._values() if not word.known and not _among(word, [*words, *spare])]
        if rest:
            found = f"{_all_missing(rest)}, which no rule looks at, not given here"
            yield Note("unresolved", rest[0], self._place("argv"), found)
        if self.command.config is not None and "config" in self.options:
            found = f"--config {self.command.config}, which is not among the files at hand"
            yield Note("unresolved", self.command.config, self._place("argv.--config"), found)
        for name, value in self.process.environment.items():
            if not value.known and value.tag != "runtime" and name in judged_variables:
                yield Note(
                    "unresolved", value, self._place(f"environment.{name}"), f"{name} with a value not given here"
                )

    def _option(self, rule: ValueRule) -> Iterator[Finding]:
        option = self.options.get(rule.name)
        part = f"argv.--{rule.name}"
        if rule.condition == "missing":
            if option is not None and option.negated:
                yield self._finding(rule, option.written, part, str(option.written))
            elif option is None and self._may_miss() and self.release.has_option(rule.name):
                yield self._finding(rule, self.process.at, part, "nothing")
            return
        if option is None or (option.negated and rule.condition != "given"):
            return
        if option.name in SECRET_NAMES and option.written.tag == "config":
            return
        if _holds(rule, self._judged(rule, option.values)):
            yield self._finding(rule, option.written, part, _written(option))

    def _judged(self, rule: ValueRule, values: Sequence[Text]) -> Sequence[Text]:
        """Return ``values`` as ``rule`` looks at them: what nobody else reaches in a container is not shared."""
        if rule.condition != "shared":
            return values
        paths = [value.become(path) for value in values for path in value.split(":")]
        return [there for path in paths if (there := self.process.on_host(path)) is not None]

    def _may_miss(self) -> bool:
        return self.whole_arguments and not self.process.fragment

    def _field(self, rule: ValueRule) -> Iterator[Finding]:
        name, *fields = rule.name.split(".")
        option = self.options.get(name)
        value = json_of(option)
        # A connector's own settings may have dots in their names.
        for depth, field in enumerate(fields):
            joined = ".".join(fields[depth:])
            if isinstance(value, dict) and joined in value:
                value = value[joined]
                break
            value = value.get(field) if isinstance(value, dict) else None
        if option is None or value is None:
            return
        if CONDITIONS[rule.condition]([value if isinstance(value, str) else str(value)], rule.value):
            yield self._finding(rule, option.written, f"argv.--{rule.name}", masked(f"{fields[-1]}: {value!r}")[:120])

    def _variable(self, rule: ValueRule) -> Iterator[Finding]:
        value = self.process.environment.get(rule.name)
        part = f"environment.{rule.name}"
        if rule.condition == "missing":
            whole = self.process.whole_environment and not self.process.fragment and not self.process.only_arguments
            if value is None and whole and self.release.reads(rule.name):
                yield self._finding(rule, self.process.at, part, "nothing")
        elif value is not None and self.release.reads(rule.name) and _holds(rule, self._judged(rule, [value])):
            hidden = rule.condition == "literal" or _SECRET_NAME.search(rule.name)
            found = "a value (not shown)" if hidden else f"{rule.name}={masked(value)[:80]!r}"
            yield self._finding(rule, value, part, found)


@functools.cache
def _judged_names() -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of options and of variables whose values some rule looks at."""
    options = {rule.name for rule in option_rules() if rule.condition not in _UNVALUED}
    options |= {rule.name.split(".")[0] for rule in field_rules()}
    return frozenset(options), frozenset(rule.name for rule in variable_rules() if rule.condition not in _UNVALUED)


def _among(word: Text, words: Sequence[Text]) -> bool:
    return any(word is other for other in words)


def _all_missing(words: Sequence[Text]) -> str:
    named = list(dict.fromkeys(_missing(word) for word in words))
    more = f" and {len(named) - _LISTED} more" if len(named) > _LISTED else ""
    return ", ".join(named[:_LISTED]) + more


def _missing(word: Text) -> str:
    return ", ".join(dict.fromkeys(_VARIABLE.findall(word))) or "a word"


def _holds(rule: ValueRule, values: Sequence[Text]) -> bool:
    if any(not value.known for value in values):
        return rule.condition in ("set", "given")
    if rule.condition == "set" and not any(values):
        return False
    return CONDITIONS[rule.condition](values, rule.value)


def _written(option: Given) -> str:
    if option.name in SECRET_NAMES:
        return f"{option.written} with a value (not shown)"
    known = catalogue.options().get(option.name)
    if known is not None and known.switch:
        return str(option.written)
    return masked(" ".join([option.written, *(option.values)]))[:160]


def _shown(word: Text) -> str:
    # A word nobody expected may be the value of a secret written in the wrong place.
    return str(word) if word.startswith("-") else f"a word of {len(word)} characters"
