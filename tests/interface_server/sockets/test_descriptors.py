from __future__ import annotations

import subprocess
import sys

import pytest

from interface_server.sockets.descriptors import MOST_SURPLUS, OWN, needed, shares


@pytest.mark.parametrize("limit", [256, 1_024, 4_096, 65_536, 1_048_576])
def test_nobody_gets_what_the_broker_needs(limit: int) -> None:
    for wanted in (10, 10_000, 10**9):
        given = shares(wanted, limit, in_use=20)
        assert given.served + given.surplus + 20 + OWN <= limit
        assert 0 < given.served <= wanted
        assert 0 < given.surplus <= MOST_SURPLUS


@pytest.mark.parametrize("connections", [1, 100, 10_000, 100_000])
def test_what_is_needed_is_enough(connections: int) -> None:
    assert shares(connections, needed(connections), in_use=30).served == connections


def test_a_limit_that_is_far_too_low_still_serves_somebody() -> None:
    assert shares(10, 20, in_use=18).served == 1


@pytest.mark.parametrize(("wanted", "soft"), [(90, 90), (500, 200), (20, 64)])
def test_the_limit_is_raised_as_far_as_the_system_lets_it(wanted: int, soft: int) -> None:
    program = (
        "import resource; from interface_server.sockets import descriptors;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 200));"
        f"descriptors.raise_limit({wanted});"
        "print(descriptors.soft_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout.split() == [str(soft), str(soft), "200"], result.stderr
