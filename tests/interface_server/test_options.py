from __future__ import annotations

from dataclasses import fields

import pytest

from interface_server.options import Options, OptionsError


def test_the_defaults_are_those_of_the_documented_limits() -> None:
    options = Options()
    assert options.websocket_max_message == 1024 * 1024
    assert options.websocket_max_fragments == 1024
    assert options.permessage_deflate is False
    assert (options.header_max_bytes, options.header_max_fields, options.request_line_max) == (65536, 100, 8192)
    assert options.header_timeout == 10
    assert options.body_inline == 256 * 1024
    assert options.body_max == 100 * 1024 * 1024
    assert (options.body_memory, options.stream_bodies) == (256 * 1024, False)
    assert (options.response_spool, options.spool_bytes) == (1024**3, 4 * 1024**3)
    assert (options.response_buffer, options.spool_memory) == (16 * 1024**2, 16 * 1024**2)
    assert options.accept_timeout == 5
    assert (options.ping_interval, options.ping_timeout) == (20, 20)
    assert options.http_timeout == 60
    assert options.keep_alive == 5
    assert options.max_connections == 10_000
    assert (options.outbox_bytes, options.outbox_timeout) == (1024 * 1024, 10)
    assert options.graceful_timeout == 30
    assert options.websocket_life == 86_400
    assert options.turn_timeout == 30


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"http_timeout": 0}, "http_timeout must be above 0, not 0"),
        ({"http_timeout": "60"}, "http_timeout must be a number, not '60'"),
        ({"body_max": 1.5}, "body_max must be a whole number, not 1.5"),
        ({"body_max": True}, "body_max must be a whole number, not True"),
        ({"ping_interval": -1}, "ping_interval must be 0 or more, not -1"),
        ({"turn_timeout": float("nan")}, "turn_timeout must be above 0, not nan"),
        ({"unordered": 1}, "unordered must be bool, not 1"),
        ({"subprotocols": "chat"}, "subprotocols must be a tuple of names, not 'chat'"),
        ({"root_path": "app"}, "root_path must begin with '/' and not end with one, not 'app'"),
        (
            {"trusted_proxies": ("router",)},
            "trusted_proxies holds 'router', which is not an IP address, a network such as 10.0.0.0/8, or '*'",
        ),
    ],
)
def test_a_value_that_cannot_work_is_one_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(OptionsError) as caught:
        Options(**values)  # type: ignore[arg-type]
    assert str(caught.value) == sentence


def test_pings_keep_alive_and_life_can_be_switched_off() -> None:
    options = Options(ping_interval=0, ping_timeout=0, keep_alive=0, websocket_life=0)
    assert options.ping_interval == 0


def test_every_option_is_explained() -> None:
    assert Options.__doc__ is not None
    assert [field.name for field in fields(Options) if f"{field.name}:" not in Options.__doc__] == []
