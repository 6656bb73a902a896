from __future__ import annotations

import pytest
import redis

from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable
from channel_layer.redis.errors import is_unblocked, raise_replies, translate


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
