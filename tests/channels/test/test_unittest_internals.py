"""`channels.test.unittest_internals`: fails, and names the version, when `unittest` has changed inside."""

from __future__ import annotations

import platform
import unittest
from collections.abc import Iterator
from contextlib import contextmanager

from channels.test.unittest_internals import EarlySetUp

VERSION = f"with Python {platform.python_version()}"


def test_the_early_step_comes_first_and_what_it_entered_ends_last() -> None:
    steps: list[str] = []

    @contextmanager
    def entered() -> Iterator[None]:
        steps.append("early")
        yield
        steps.append("late")

    class Case(EarlySetUp):
        def _set_up_early(self) -> None:
            self.enterContext(entered())

        def setUp(self) -> None:
            self.addCleanup(steps.append, "cleanup")
            steps.append("setUp")

        def tearDown(self) -> None:
            steps.append("tearDown")

        def runTest(self) -> None:
            steps.append("test")

    assert unittest.TextTestRunner(verbosity=0).run(Case()).wasSuccessful(), VERSION
    assert steps == ["early", "setUp", "test", "tearDown", "cleanup", "late"], VERSION
