"""The peer that is not a Python program: ``python -m benchmarks.nchan <port>`` becomes an nginx with one nchan channel.

Every WebSocket on ``/group/`` hears the channel and speaks to it: a frame from one goes to all, itself included, which
is what the group consumers of the other peers do. There is one worker process, and messages are kept in its memory.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from .environments import Nginx, nginx

BACKLOG = 4_096


def configuration(found: Nginx, directory: Path, port: int) -> str:
    """The whole of ``nginx.conf``; nginx writes nowhere but into the directory and to standard error."""
    load = f"load_module {found.module};\n" if found.module else ""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {directory}/{kind}; " for kind in kinds)
    return f"""{load}daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{
    worker_connections 8192;
}}
http {{
    access_log off;
    {temporary}
    server {{
        listen 127.0.0.1:{port} backlog={BACKLOG};
        location = / {{
            default_type text/plain;
            return 200 "Hello, world.\\n";
        }}
        location = /group/ {{
            nchan_pubsub websocket;
            nchan_channel_id all;
            nchan_subscriber_first_message newest;
        }}
    }}
}}
"""


def listening(port: int) -> socket.socket:
    """A socket for nginx to inherit, with Nagle's algorithm off for all that are accepted from it (tcp(7)).

    nchan leaves it on: the second of two deliveries then waits for the client's delayed acknowledgement, some 40 ms,
    and that would be all there is to measure.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(BACKLOG)
    sock.set_inheritable(True)
    return sock


def main(port: int) -> None:
    """Become nginx; returns only by an exception."""
    found = nginx()
    directory = Path(os.environ["BENCH_DIRECTORY"])
    path = directory / "nginx.conf"
    path.write_text(configuration(found, directory, port))
    # nginx takes sockets over in this variable when it replaces its own program; the address must be that of `listen`.
    environment = {**os.environ, "NGINX": f"{listening(port).detach()};"}
    os.execve(found.program, [found.program, "-p", str(directory), "-c", str(path)], environment)


if __name__ == "__main__":
    main(int(sys.argv[1]))
