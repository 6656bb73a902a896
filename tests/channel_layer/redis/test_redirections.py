from __future__ import annotations

from typing import Any

import pytest

from channel_layer.redis.redirections import new_place, redirected
from channel_layer.redis.redis_py import error_of
from channel_layer.redis.scripts import PUSH, Call, plain

MOVED = error_of("MOVED 3999 127.0.0.1:6381")
ASK = error_of("ASK 3999 127.0.0.1:6381")
TRY_AGAIN = error_of("TRYAGAIN Multiple keys request during rehashing of slot")
ABORTED = error_of("EXECABORT Transaction discarded because of previous errors.")
DOWN = error_of("CLUSTERDOWN The cluster is down")
SCRIPT, TIME = Call(PUSH, ["k"], []), plain("TIME")
TRANSACTION = [plain("MULTI"), plain("RPUSH", "k", "x"), SCRIPT, plain("EXEC")]


@pytest.mark.parametrize(
    ("calls", "replies", "places"),
    [
        ([SCRIPT, TIME], [None, [b"1", b"2"]], []),
        ([SCRIPT, TIME], [MOVED, [b"1", b"2"]], [0]),
        ([SCRIPT, SCRIPT, TIME], [TRY_AGAIN, ASK, [b"1", b"2"]], [0, 1]),
        ([SCRIPT], [DOWN], []),
        ([*TRANSACTION, TIME], [b"OK", b"QUEUED", b"QUEUED", [1, 0], []], []),
        ([SCRIPT, *TRANSACTION, TIME], [None, b"OK", MOVED, MOVED, ABORTED, []], [1, 2, 3, 4]),
        ([*TRANSACTION, SCRIPT], [b"OK", b"QUEUED", b"QUEUED", MOVED, MOVED], [0, 1, 2, 3, 4]),
        (TRANSACTION, [b"OK", DOWN, DOWN, ABORTED], []),
    ],
)
def test_what_was_not_made_is_made_again(calls: list[Call], replies: list[Any], places: list[int]) -> None:
    assert redirected(calls, replies) == places


def test_the_new_place_is_that_of_a_move_alone() -> None:
    assert new_place([None, ASK, TRY_AGAIN]) is None
    assert new_place([None, ASK, MOVED]) == ("127.0.0.1", 6381)
