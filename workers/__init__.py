"""Receive, match, run, flush: the processes that run consumers."""

from .hooks import Hook
from .supervisor import Supervisor
from .worker import Worker

__all__ = ["Hook", "Supervisor", "Worker"]
