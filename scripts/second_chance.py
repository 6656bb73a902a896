"""Run the tests that just failed once more, by themselves, and say how both runs ended.

Tests against real processes share their machine with whatever else runs on it, and a machine that stands still for a
while fails one of thousands. Such a test passes here. One that fails again, and a run with more failures than one may
blame on the machine, is refused. A failure that does not come back stays in the output: it has a cause to be found.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

FAILED = Path(".pytest_cache/v/cache/lastfailed")
MOST = 3
"""More failures than this are not run again."""


def failed_tests(cache: Path) -> list[str]:
    """Node ids of the tests that failed in the last run, without the group that ``--dist loadgroup`` appends."""
    if not cache.exists():
        return []
    return sorted({re.sub(r"@[^@\]]+$", "", node) for node in json.loads(cache.read_text())})


def main() -> int:
    """The code to exit with."""
    tests = failed_tests(FAILED)
    if not tests:
        print("The tests ended early: there is no list of failures to try again.")
        return 1
    print(f"{len(tests)} failed: {' '.join(tests)}")
    if len(tests) > MOST:
        print(f"More than {MOST} are not tried again.")
        return 1
    code = subprocess.call([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests])
    print(
        "They fail again." if code else "They pass by themselves: the first output shows a fault that comes and goes."
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
