from __future__ import annotations

import pytest

from workers.exceptions import ChannelSocketException, ConsumeLater, ConsumerSignal


@pytest.mark.parametrize("kind", [ConsumeLater, ChannelSocketException])
def test_everything_raised_on_purpose_has_one_root(kind: type[Exception]) -> None:
    assert issubclass(kind, ConsumerSignal)


def test_a_socket_exception_must_say_what_to_do() -> None:
    with pytest.raises(NotImplementedError):
        ChannelSocketException().run(object())
