"""A worker process for the tests: ``program.py worker URL PREFIX [OPTIONS]`` or ``program.py supervisor ...``.

The options are a JSON object: those of `Worker`, and ``layer`` with those of the layer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).parents[2]))

from channel_layer.channel import Channel
from channel_layer.redis import RedisChannelLayer
from workers import Hook, Supervisor, Worker
from workers.supervisor import exit_with_parent


def job(message: Any) -> None:
    """Take a moment and say at once which message was run; then what the message asks for."""
    Channel("done", channel_layer=message.channel_layer).send({"n": message["n"]}, immediately=True)
    time.sleep(message.get("seconds", 0))
    reply(message)


async def async_job(message: Any) -> None:
    """The same as `job`, waiting without a thread."""
    await Channel("done", channel_layer=message.channel_layer).asend({"n": message["n"]}, immediately=True)
    await asyncio.sleep(message.get("seconds", 0))
    reply(message)


def reply(message: Any) -> None:
    """Send one reply, or as many as the message asks for."""
    for n in range(message["n"], message["n"] + message.get("replies", 1)):
        Channel("replies", channel_layer=message.channel_layer).send({"n": n})


def stop(message: Any) -> None:
    """Nothing, quickly; or stop the worker, and never come back."""
    if message["stop"]:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait()


class TellReady(Hook):
    def worker_ready(self, worker: Any) -> None:
        """Say which process is ready for signals and messages."""
        worker.channel_layer.send("ready", {"n": os.getpid()})


class WaitAfter(Hook):
    def after(self, message: Any, error: BaseException | None) -> None:
        """Say that a consumer has returned, and go on when somebody says so."""
        if message.get("wait_after"):
            message.channel_layer.send("after", {"n": message["n"]})
            assert message.channel_layer.receive_batch(["go.on"], timeout=60)


class Routes:
    consumers: ClassVar[dict[str, Any]] = {"jobs": job, "async.jobs": async_job, "stops": stop}
    channels = tuple(consumers)

    def match(self, message: Any) -> tuple[Any, dict[str, Any]]:
        return self.consumers[message.channel.name], {}


def main(kind: str, url: str, prefix: str, options: str = "{}") -> int:
    """Run until stopped."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    if kind == "supervisor":
        return Supervisor([sys.executable, __file__, "worker", url, prefix], processes=2, grace=10).run()
    given = {"async_tasks": 20, "grace": 20, **json.loads(options)}
    layer = RedisChannelLayer(hosts=[url], prefix=prefix, **{"expiry": 600, **given.pop("layer", {})})
    worker = Worker(layer, Routes(), hooks=[TellReady(), WaitAfter()], **given)
    exit_with_parent(worker.stop)
    return 0 if worker.run() else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
