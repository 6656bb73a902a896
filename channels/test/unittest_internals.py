"""Undocumented parts of `unittest` that the test cases use, in one place."""

from __future__ import annotations

import unittest


class EarlySetUp(unittest.TestCase):
    """A test case with a step right before ``setUp``, inside of Django's own preparations."""

    def _set_up_early(self) -> None:
        """Prepare the test; contexts that are entered here end after ``tearDown`` and all cleanups of the test."""

    def _callSetUp(self) -> None:
        # Not in setUp, which a subclass may override without calling it, nor in Django's _pre_setup,
        # which belongs to the instance in some of its versions and to the class in others.
        self._set_up_early()
        super()._callSetUp()  # type: ignore[misc]
