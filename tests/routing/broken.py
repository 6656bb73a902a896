"""A module whose import fails for a reason of its own."""

import a_module_that_does_not_exist  # type: ignore[import-not-found] # noqa: F401
