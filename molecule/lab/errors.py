"""The one error a user of the lab sees."""

from __future__ import annotations


class LabError(Exception):
    """Something the lab could not do, told for people.

    ``what`` says what was attempted and found, ``remedy`` what to do about it, ``detail`` holds the last lines of
    the output of a program that failed (may be empty).
    """

    def __init__(self, what: str, remedy: str, detail: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.detail = detail

    def __str__(self) -> str:
        lines = [self.what]
        lines += [f"    | {line}" for line in self.detail.splitlines()]
        lines.append(f"  To mend it: {self.remedy}")
        return "\n".join(lines)
