from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import traceback
from collections.abc import Iterator

import pytest
import redis

from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable, LayerUnusable
from channel_layer.redis import RedisChannelLayer
from channel_layer.redis.errors import is_refusal, is_unblocked, raise_replies, translate, translate_opening
from channel_layer.redis.redis_py import error_of

from .confidential import SECRET


def test_a_lost_connection_is_an_unavailable_layer() -> None:
    error = translate(redis.ConnectionError("Connection refused"), "redis://x")
    assert isinstance(error, LayerUnavailable)
    assert str(error) == "channel layer at redis://x is unavailable: Connection refused"
    assert error.uncertain


def test_a_wrong_password_is_a_matter_of_configuration() -> None:
    error = translate(redis.AuthenticationError("invalid username-password pair"), "redis://x")
    assert isinstance(error, LayerConfigurationError)
    assert "Check user and password in 'hosts'" in str(error)


def test_an_unknown_command_names_the_version_needed() -> None:
    error = translate(redis.ResponseError("unknown command 'BLMPOP', with args beginning with: "), "redis://x")
    assert isinstance(error, LayerConfigurationError)
    assert "Redis 7.0 or later is needed" in str(error)


@pytest.fixture
def parrot() -> Iterator[str]:
    """URL of a server that knows no command, and repeats what it was told as Redis does."""

    def answer(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                with client:
                    heard = client.recv(4_096).split(b"\r\n")[2::2]
                    arguments = b" ".join(b"'%b'" % word for word in heard[1:])
                    client.sendall(
                        b"-ERR unknown command '%b', with args beginning with: %b\r\n" % (heard[0], arguments)
                    )

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        yield f"redis://user:{SECRET}@127.0.0.1:{server.getsockname()[1]}/0"
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_server_that_repeats_the_password_does_not_bring_it_into_a_log(parrot: str, is_async: bool) -> None:
    layer = RedisChannelLayer(hosts=[parrot])

    async def send() -> None:
        try:
            await layer.asend("channel", {})
        finally:
            await layer.aclose()

    with pytest.raises(LayerUnavailable) as caught:
        asyncio.run(send()) if is_async else layer.send("channel", {})
    layer.close()
    said = "".join(traceback.format_exception(caught.value))
    assert "unknown command" in said
    assert SECRET not in said


def test_the_first_error_of_a_pipeline_is_raised() -> None:
    with pytest.raises(LayerUnavailable, match="OOM") as caught:
        raise_replies([1, redis.ResponseError("OOM command not allowed")], "redis://x")
    assert caught.value.uncertain
    raise_replies([1, None, b"OK"], "redis://x")


def test_a_single_refused_command_had_no_effect() -> None:
    with pytest.raises(LayerUnavailable) as caught:
        raise_replies([redis.ResponseError("OOM command not allowed")], "redis://x")
    assert not caught.value.uncertain


def test_an_unblocked_pop_is_told_from_other_errors() -> None:
    assert is_unblocked(redis.ResponseError("UNBLOCKED client unblocked via CLIENT UNBLOCK"))
    assert not is_unblocked(redis.ResponseError("OOM"))
    assert not is_unblocked(None)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("WRONGPASS invalid username-password pair or user is disabled.", "Check user and password in 'hosts'."),
        ("NOAUTH Authentication required.", "refuses us: Authentication required. Check user and password"),
        ("NOPERM this user has no permissions to run the 'lmpop' command", "'lmpop' command. Check the rights"),
        ("MOVED 3999 127.0.0.1:6381", "is in cluster mode, which this layer cannot use."),
        ("CROSSSLOT Keys in request don't hash to the same slot", "is in cluster mode"),
        ("CLUSTERDOWN Hash slot not served", "is in cluster mode"),
        ("ERR SELECT is not allowed in cluster mode", "is in cluster mode"),
        ("ERR DB index is out of range", "has no such database"),
        ("DENIED Redis is running in protected mode because", "refuses us: it is in protected mode."),
        ("ERR unknown command 'BLMPOP', with args beginning with:", "Redis 7.0 or later is needed"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "Give the layer a 'prefix' of its own."),
        (
            "ERR ACL failure in script: User x has no permissions to run the 'rpush' command script: 1a, on @1.",
            "refuses us: ACL failure in script: User x has no permissions to run the 'rpush' command. Allow",
        ),
        (
            "ERR ACL failure in script: No permissions to access a key script: on @user_script:1.",
            "refuses us: ACL failure in script: No permissions to access a key. Allow its user all commands",
        ),
    ],
)  # fmt: skip
def test_what_only_another_configuration_helps_against(reply: str, said: str) -> None:
    error = error_of(reply)
    for translated in (translate(error, "redis://x", uncertain=False), translate_opening(error, "redis://x", None)):
        assert type(translated) is LayerUnusable
        assert not translated.uncertain
        assert str(translated).startswith("Redis at redis://x ")
        assert said in str(translated)
        assert str(translated).endswith(".")


@pytest.mark.parametrize(
    "reply",
    [
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "READONLY You can't write against a read only replica. script: 12ab, on @user_script:1.",
        "OOM command not allowed when used memory > 'maxmemory'. script: 12ab, on @user_script:1.",
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        "NOREPLICAS Not enough good replicas to write.",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "EXECABORT Transaction discarded because of previous errors.",
    ],
)
def test_what_passes_by_itself_is_an_absence_in_which_nothing_was_done(reply: str) -> None:
    error = error_of(reply)
    assert is_refusal(error)
    for replies in ([error], [b"OK", error], [error, error]):
        with pytest.raises(LayerUnavailable) as caught:
            raise_replies(replies, "redis://x")
        assert type(caught.value) is LayerUnavailable
        assert not caught.value.uncertain
        assert "script:" not in str(caught.value)


def test_a_script_that_was_stopped_in_its_middle_may_have_done_something() -> None:
    reply = "ERR The user executing the script can't run this command or subcommand script: 1, on @1."
    error = error_of(reply)
    assert not is_refusal(error)
    with pytest.raises(LayerUnusable, match="with the layer's 'prefix'") as caught:
        raise_replies([error], "redis://x")
    assert caught.value.uncertain


def test_what_the_caller_was_handling_is_no_cause() -> None:
    handled = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error = redis.ConnectionError("Connection closed by server.")
    error.__context__ = handled
    assert type(translate_opening(error, "rediss://x", handled)) is LayerUnavailable


@pytest.mark.parametrize(
    ("error", "where", "said"),
    [
        (UnicodeError("label empty or too long"), "redis://x", "cannot be looked up (label empty or too long)."),
        (redis.InvalidResponse("Protocol error"), "redis://x", "does not speak Redis' protocol (Protocol error)."),
        (PermissionError(13, "Permission denied"), "unix:///x", "Let the user of this process read and write"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong"), "rediss://x", "cannot be reached by TLS"),
    ],
)  # fmt: skip
def test_what_keeps_a_connection_from_being_opened_is_named(error: Exception, where: str, said: str) -> None:
    wrapped = redis.ConnectionError("Error while connecting.")
    wrapped.__cause__ = error
    translated = translate_opening(wrapped, where, None)
    assert type(translated) is LayerUnusable
    assert said in str(translated)


@pytest.mark.parametrize(
    "error", [ssl.SSLEOFError(8, "EOF"), ConnectionResetError(104, "reset"), TimeoutError()], ids=repr
)
def test_a_tls_connection_that_is_cut_says_nothing_about_the_configuration(error: Exception) -> None:
    assert type(translate_opening(error, "rediss://x", None)) is LayerUnavailable
