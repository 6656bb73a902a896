"""The processes that run consumers: receive, match, run, flush."""

from .hooks import Hook
from .streams import Stream
from .supervisor import Supervisor
from .watchdog import Watchdog
from .wear import Wear
from .worker import Worker

__all__ = ["Hook", "Stream", "Supervisor", "Watchdog", "Wear", "Worker"]
