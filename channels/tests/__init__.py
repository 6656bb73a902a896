"""The name that `channels.test` had at first."""

import warnings

from channels.test import *  # noqa: F403

warnings.warn("channels.tests is deprecated; import from channels.test", DeprecationWarning, stacklevel=2)
