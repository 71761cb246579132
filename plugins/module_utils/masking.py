# Copyright (c) 2026 hardened.vllm maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts secrets into file contents and keeps them, old and new, out of everything that is shown."""

from __future__ import annotations

import re

PLACEHOLDER = re.compile(r"@secret:([A-Za-z0-9_][A-Za-z0-9_./-]*)@")
WHOLE = "<secret content>\n"
WHOLE_CHANGED = "<secret content changed>\n"


def names(template):
    """Return the secrets a content asks for, in order of appearance, without repetition."""
    return list(dict.fromkeys(PLACEHOLDER.findall(template)))


def expand(template, secrets):
    """Return the content with every ``@secret:NAME@`` replaced; KeyError when a name is missing."""
    return PLACEHOLDER.sub(lambda match: secrets[match.group(1)], template)


def mask(text, secrets):
    """Return ``text`` with every known value replaced by ``<secret NAME>``, longest values first."""
    for name in sorted(secrets, key=lambda key: -len(secrets[key])):
        if secrets[name]:
            text = text.replace(secrets[name], "<secret %s>" % name)
    return text


def old_values(template, old, least=6):
    """Return the values an earlier version of the file held where ``template`` has placeholders.

    Returns {name: value} for masking; shorter values than ``least`` are dropped, replacing them would garble any text.
    """
    found = {}
    for pattern, placeholders, _masked in _patterns(template):
        for line in old.splitlines():
            match = pattern.fullmatch(line)
            if match:
                for number, name in enumerate(placeholders, 1):
                    value = match.group(number)
                    if len(value) >= least:
                        found["%s (old value %d)" % (name, len(found))] = value
    return found


def shown(template, old, secrets, whole=False):
    """Return (before, after) of one file as a diff may show them.

    ``old`` is the text on the node or None when there was no file. In a file that holds secrets, a line of
    the old text is shown only when the new template accounts for it: any other line might be a secret of an
    earlier version. ``whole`` hides the contents altogether.
    """
    if whole:
        return ("", WHOLE) if old is None else (WHOLE, WHOLE_CHANGED)
    if not names(template):
        return mask(old or "", secrets), mask(template, secrets)
    masked = PLACEHOLDER.sub(r"<secret \1>", template)
    if old is None:
        return "", masked
    return _before(template, masked, old, secrets), _after(template, old, secrets)


def _after(template, old, secrets):
    lines = []
    padded = "\n%s\n" % old
    for line in template.splitlines(keepends=True):
        if PLACEHOLDER.search(line):
            bare = line.rstrip("\n")
            kept = "\n%s\n" % expand(bare, secrets) in padded
            line = PLACEHOLDER.sub(r"<secret \1>" if kept else r"<secret \1 changed>", line)
        lines.append(line)
    return "".join(lines)


def _before(template, masked, old, secrets):
    known = set(masked.splitlines())
    patterns = _patterns(template)
    lines = []
    hidden = 0
    for line in mask(old, secrets).splitlines():
        text = line if line in known else _as_template(line, patterns)
        if text is None:
            hidden += 1
            continue
        _flush(lines, hidden)
        hidden = 0
        lines.append(text)
    _flush(lines, hidden)
    return "".join(line + "\n" for line in lines)


def _flush(lines, hidden):
    if hidden:
        lines.append("<%d line%s not shown: this file holds secrets>" % (hidden, "" if hidden == 1 else "s"))


def _as_template(line, patterns):
    for pattern, _names, masked in patterns:
        if pattern.fullmatch(line):
            return masked
    return None


def _patterns(template):
    """One (pattern, names, masked line) for every line of the template that holds a placeholder."""
    found = []
    for line in template.splitlines():
        if PLACEHOLDER.search(line):
            literals = PLACEHOLDER.split(line)[::2]
            pattern = re.compile("(.*)".join(re.escape(part) for part in literals))
            found.append((pattern, PLACEHOLDER.findall(line), PLACEHOLDER.sub(r"<secret \1>", line)))
    return found
