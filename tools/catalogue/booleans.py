# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Conditions as sums of products: ``generate and not --tokens-only or VLLM_SERVER_DEV_MODE``.

A condition is a set of terms, a term a set of literals ``(name, positive)``. The catalogue stores their text.
"""

from __future__ import annotations

import itertools

Literal = tuple[str, bool]
Term = frozenset[Literal]
Condition = frozenset[Term]

TRUE: Condition = frozenset({frozenset()})
FALSE: Condition = frozenset()


def atom(name: str) -> Condition:
    """Return the condition that holds when ``name`` does."""
    return frozenset({frozenset({(name, True)})})


def both(left: Condition, right: Condition) -> Condition:
    """Return the conjunction, simplified."""
    terms = {one | other for one in left for other in right}
    return simplify(frozenset(term for term in terms if not _contradicts(term)))


def either(left: Condition, right: Condition) -> Condition:
    """Return the disjunction, simplified."""
    return simplify(left | right)


def negate(condition: Condition) -> Condition:
    """Return the negation, simplified."""
    result = TRUE
    for term in condition:
        result = both(result, frozenset(frozenset({(name, not positive)}) for name, positive in term))
    return result


def simplify(condition: Condition) -> Condition:
    """Return the prime implicants of ``condition`` that are needed; equal conditions become equal texts."""
    terms = _absorb(set(condition))
    while True:
        found = {new for one, other in itertools.combinations(terms, 2) if (new := _consensus(one, other)) is not None}
        grown = _absorb(terms | found)
        if grown == terms:
            break
        terms = grown
    for term in sorted(terms, key=lambda item: (-len(item), sorted(item))):
        if len(terms) > 1 and _implied(term, terms - {term}):
            terms = terms - {term}
    return frozenset(terms)


def text(condition: Condition) -> str:
    """Return ``condition`` as the catalogue writes it: ``always``, ``never``, or terms joined by ``or``."""
    if condition == FALSE:
        return "never"
    terms = sorted(sorted(term, key=lambda literal: (not literal[1], literal[0])) for term in condition)
    written = [" and ".join(name if positive else f"not {name}" for name, positive in term) for term in terms]
    return "always" if written == [""] else " or ".join(written)


def parse(written: str) -> Condition:
    """Return the condition ``text`` would write as ``written``."""
    if written in ("always", "never"):
        return TRUE if written == "always" else FALSE
    terms = set()
    for part in written.split(" or "):
        literals = part.split(" and ")
        terms.add(frozenset((name.removeprefix("not "), not name.startswith("not ")) for name in literals))
    return simplify(frozenset(terms))


def _contradicts(term: Term) -> bool:
    return any((name, not positive) in term for name, positive in term)


def _absorb(terms: set[Term]) -> set[Term]:
    return {term for term in terms if not any(other < term for other in terms)}


def _consensus(one: Term, other: Term) -> Term | None:
    opposed = [(name, positive) for name, positive in one if (name, not positive) in other]
    if len(opposed) != 1:
        return None
    name, positive = opposed[0]
    return (one - {(name, positive)}) | (other - {(name, not positive)})


def _implied(term: Term, rest: set[Term]) -> bool:
    # Is every assignment that makes ``term`` true covered by ``rest``?
    left = {frozenset(other - term) for other in rest if not _contradicts(other | term)}
    names = sorted({name for other in left for name, _ in other})
    for values in itertools.product((True, False), repeat=len(names)):
        given = set(zip(names, values, strict=True))
        if not any(other <= given for other in left):
            return False
    return True
