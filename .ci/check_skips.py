"""check_skips.py REPORT: fails where pytest skipped a test that is not on the list below.

REPORT is pytest's --junitxml file. A skip is a check that did not happen: CI installs what the
tests need, so each is either a hole in the installation or deliberate, and then it stands here.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree

# the beginning of a test's name (tests.folder.module.name) -> why CI cannot run it
ALLOWED: dict[str, str] = {}


def main(report: str) -> int:
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    if not cases:
        print("no test ran", file=sys.stderr)
        return 1
    skipped = [
        (f"{case.get('classname')}.{case.get('name')}".strip("."), _reason(mark))
        for case in cases
        for mark in case.iter("skipped")
    ]
    unexpected = [item for item in skipped if not item[0].startswith(tuple(ALLOWED))]
    for name, reason in skipped:
        print(f"skipped: {name}: {reason}")
    print(f"{len(cases)} tests reported, {len(skipped)} skipped, {len(unexpected)} not allowed to")
    return 1 if unexpected else 0


def _reason(mark: ElementTree.Element) -> str:
    """A module that is skipped whole keeps its reason in the text alone."""
    message = mark.get("message", "")
    return (mark.text or message) if message == "collection skipped" else message


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
