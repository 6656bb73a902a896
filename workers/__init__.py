"""The processes that run consumers: receive, match, run, flush."""

from .hooks import Hook
from .streams import Stream
from .supervisor import Supervisor
from .worker import Worker

__all__ = ["Hook", "Stream", "Supervisor", "Worker"]
