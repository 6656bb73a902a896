"""Tests of benchmarks.nchan."""

from __future__ import annotations

import socket
from pathlib import Path

from benchmarks.environments import Nginx
from benchmarks.nchan import configuration, listening
from benchmarks.stack import free_port

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
FOUND = Nginx("/usr/sbin/nginx", MODULE, "1.22.1")


def statements(text: str) -> set[str]:
    """The configuration's lines without what is around them."""
    return {line.strip() for line in text.splitlines()}


def test_one_worker_serves_one_channel_in_which_everybody_hears_everybody():
    lines = statements(configuration(FOUND, Path("/tmp/stack"), 8123))
    assert {"worker_processes 1;", "daemon off;", "listen 127.0.0.1:8123 backlog=4096;"} <= lines
    assert {"location = /group/ {", "nchan_pubsub websocket;", "nchan_channel_id all;"} <= lines


def test_sockets_of_a_later_round_do_not_hear_the_messages_of_an_earlier_one():
    assert "nchan_subscriber_first_message newest;" in statements(configuration(FOUND, Path("/tmp/stack"), 8123))


def test_nothing_is_written_outside_the_directory():
    text = configuration(FOUND, Path("/tmp/stack"), 8123)
    paths = [word.rstrip(";") for word in text.split() if word.startswith("/") and word != "/"]
    assert {path for path in paths if not path.startswith("/tmp/stack/")} == {str(MODULE), "/group/"}
    assert {"access_log off;", "error_log stderr warn;"} <= statements(text)


def test_the_module_is_loaded_unless_it_is_compiled_in():
    assert configuration(FOUND, Path("/tmp/stack"), 8123).startswith(f"load_module {MODULE};\n")
    assert "load_module" not in configuration(Nginx("/opt/nginx", None, "1.27"), Path("/tmp/stack"), 8123)


def test_accepted_sockets_inherit_that_nagle_is_off():
    port = free_port()
    with listening(port) as listener, socket.create_connection(("127.0.0.1", port), 5):
        assert listener.get_inheritable()
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
