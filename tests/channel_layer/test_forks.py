from __future__ import annotations

import os
import threading

from channel_layer.forks import forget_in_children


class Owner:
    def __init__(self) -> None:
        self.forgot = 0
        forget_in_children(self)

    def forget(self) -> None:
        self.forgot += 1


def test_a_child_forgets_once_and_its_parent_does_not() -> None:
    owner = Owner()
    child = os.fork()
    if child == 0:
        os._exit(owner.forgot)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert owner.forgot == 0


def test_an_owner_is_not_kept_for_that() -> None:
    gone = threading.Event()

    class Short(Owner):
        def __del__(self) -> None:
            gone.set()

    Short()
    assert gone.is_set()
