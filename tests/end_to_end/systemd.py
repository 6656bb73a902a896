"""A stand-in for systemd, as far as a service knows it: notifications, and the file descriptor store."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from pathlib import Path

from tests.end_to_end.processes import Service

EXEC = """
import json, os, sys
kept, command = json.loads(sys.argv[1]), sys.argv[2:]
for position, (number, _) in enumerate(kept):
    os.dup2(number, 2_000 + position)  # out of the way
    os.close(number)
for position in range(len(kept)):
    os.dup2(2_000 + position, 3 + position)
    os.close(2_000 + position)
if kept:
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(kept)))
    os.environ["LISTEN_FDNAMES"] = ":".join(name for _, name in kept)
os.execv(command[0], command)
"""


class Systemd:
    """Keeps what a service leaves, and hands it to the next one, in another order.

    Attributes:
        kept: descriptors and their names.
        most: FileDescriptorStoreMax.
        said: what the service has said, without what is about descriptors.
    """

    def __init__(self, directory: Path, most: int = 1_000) -> None:
        self.address = directory / "notify"
        self.most = most
        self.kept: list[tuple[int, str]] = []
        self.said: list[str] = []
        self._way = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._way.bind(str(self.address))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._way, 4_096, 253)
            fields = dict(line.split("=", 1) for line in data.decode().splitlines())
            if not fields:
                return
            name = fields.get("FDNAME", "stored")
            if fields.get("FDSTORE") == "1":
                for descriptor in descriptors:
                    if len(self.kept) < self.most:
                        self.kept.append((descriptor, name))
                    else:
                        os.close(descriptor)
                continue
            for descriptor in descriptors:  # of a barrier
                os.close(descriptor)
            if fields.get("FDSTOREREMOVE") == "1":
                for descriptor, kept_as in self.kept:
                    if kept_as == name:
                        os.close(descriptor)
                self.kept = [each for each in self.kept if each[1] != name]
            self.said += [f"{key}={value}" for key, value in fields.items() if key in ("READY", "STOPPING")]

    def start(self, service: Service) -> None:
        """Start a service with all that is kept."""
        kept = list(reversed(self.kept))
        service.environment = service.environment | {"NOTIFY_SOCKET": str(self.address)}
        service.command = [sys.executable, "-c", EXEC, json.dumps(kept), *service.command]
        service.start(tuple(number for number, _ in kept))

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
            way.sendto(b"", str(self.address))
        self._thread.join()
        self._way.close()
        for descriptor, _ in self.kept:
            os.close(descriptor)
