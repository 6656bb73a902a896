"""A worker process for the tests: ``program.py worker URL PREFIX`` or ``program.py supervisor ...``."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from channel_layer.channel import Channel
from channel_layer.redis import RedisChannelLayer
from workers import Hook, Supervisor, Worker
from workers.supervisor import exit_with_parent


def job(message: Any) -> None:
    """Take a moment and say at once which message was run; then what the message asks for."""
    Channel("done", channel_layer=message.channel_layer).send({"n": message["n"]}, immediately=True)
    time.sleep(message.get("seconds", 0))
    Channel("replies", channel_layer=message.channel_layer).send({"n": message["n"]})


async def async_job(message: Any) -> None:
    """The same as `job`, waiting without a thread."""
    await Channel("done", channel_layer=message.channel_layer).asend({"n": message["n"]}, immediately=True)
    await asyncio.sleep(message.get("seconds", 0))
    Channel("replies", channel_layer=message.channel_layer).send({"n": message["n"]})


class TellReady(Hook):
    def worker_ready(self, worker: Any) -> None:
        """Say which process is ready for signals and messages."""
        worker.channel_layer.send("ready", {"n": os.getpid()})


class Routes:
    channels = ("jobs", "async.jobs")

    def match(self, message: Any) -> tuple[Any, dict[str, Any]]:
        return job if message.channel.name == "jobs" else async_job, {}


def main(kind: str, url: str, prefix: str) -> int:
    """Run until stopped."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    if kind == "supervisor":
        return Supervisor([sys.executable, __file__, "worker", url, prefix], processes=2, grace=10).run()
    worker = Worker(
        RedisChannelLayer(hosts=[url], prefix=prefix), Routes(), async_tasks=20, grace=20, hooks=[TellReady()]
    )
    exit_with_parent(worker.stop)
    return 0 if worker.run() else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
