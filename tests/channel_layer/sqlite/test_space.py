"""Space that is kept, on a device made of numbers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.sqlite import space as space_module
from channel_layer.sqlite.space import RESERVE, Space

MIB = 1024 * 1024


class Device:
    """So many bytes, of which so many are free; merging the log gives some back and finds some inside the file."""

    def __init__(self, total: int, free: int) -> None:
        self.total, self.free = total, free
        self.in_log = self.inside = self.looks = 0

    def statvfs(self, path: object) -> os.statvfs_result:
        self.looks += 1
        return os.statvfs_result((4096, 1024, self.total // 1024, 0, self.free // 1024, 0, 0, 0, 0, 255))

    def merge_log(self) -> int:
        self.free += self.in_log
        self.in_log = 0
        return self.inside


def space_on(device: Device, monkeypatch: pytest.MonkeyPatch) -> Space:
    monkeypatch.setattr(space_module.os, "statvfs", device.statvfs)
    return Space(Path("/srv/layer.sqlite3"), device.merge_log)


def test_the_reserve_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(1000 * MIB, RESERVE + MIB)
    space = space_on(device, monkeypatch)
    space.claim(MIB)
    with pytest.raises(LayerUnavailable, match=r"/srv/layer.sqlite3 .*no space is left") as caught:
        space.claim(MIB + 1024)
    assert not caught.value.uncertain
    device.free += MIB
    space.claim(MIB + 1024)


def test_half_of_a_small_device_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(4 * MIB, 2 * MIB + 10_240)
    space = space_on(device, monkeypatch)
    space.claim(10_240)
    device.free -= 1024
    with pytest.raises(LayerUnavailable):
        space.claim(100_000)


def test_what_the_log_gives_back_and_what_is_free_inside_the_file_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(1000 * MIB, RESERVE)
    space = space_on(device, monkeypatch)
    device.in_log = MIB
    space.claim(MIB)
    device.free, device.inside = RESERVE - 5 * MIB, 6 * MIB
    space.claim(MIB)
    with pytest.raises(LayerUnavailable):
        space.claim(2 * MIB)


def test_the_device_is_looked_at_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(1000 * MIB, 500 * MIB)
    space = space_on(device, monkeypatch)
    for _ in range(100):
        space.claim(200)
    assert 2 <= device.looks <= 10
