"""Receive, match, run, flush: the processes that run consumers."""

from .hooks import Hook
from .streams import Stream
from .supervisor import Supervisor
from .worker import Worker

__all__ = ["Hook", "Stream", "Supervisor", "Worker"]
