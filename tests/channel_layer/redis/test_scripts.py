from __future__ import annotations

import hashlib

from channel_layer.redis import scripts
from channel_layer.redis.scripts import Call, plain


def test_a_call_names_its_script_by_digest() -> None:
    call = Call(scripts.PUSH, ["k"], [1])
    digest = hashlib.sha1(scripts.PUSH.text, usedforsecurity=False).hexdigest()
    assert call.command() == ("EVALSHA", digest, 1, "k", 1)
    assert call.command_with_text() == ("EVAL", scripts.PUSH.text, 1, "k", 1)


def test_a_plain_command_is_just_that() -> None:
    assert plain("PING", 1).command() == ("PING", 1)


def test_every_script_says_which_keys_it_touches() -> None:
    assert all(b"-- KEYS[1]" in script.text for script in scripts.ALL)
