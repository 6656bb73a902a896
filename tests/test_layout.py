"""Tests mirror modules: who looks for the tests of a module finds them by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ["channel_layer", "routing", "workers", "interface_server", "channels", "compat"]

ELSEWHERE = {
    "channel_layer/conformance": "run on every layer, by test_conformance.py and redis/test_layer.py",
    "channels/live_addresses.py": "two properties, checked by the tests of both live servers",
    "channels/test/http.py": "the import path of Channels 1 for test_websocket.py's client",
    **dict.fromkeys(
        [f"channels/test/live_{part}.py" for part in ("child", "parts", "processes", "threads")],
        "the inside of a live server, run by test_liveserver.py",
    ),
    "interface_server/bridge/connection.py": "protocols without code, kept by exchanges and WebSockets",
    "interface_server/websocket/client_socket.py": "a protocol without code, kept by both servers of websockets",
    "compat/daphne/management": "the commands of channels under another application, run by compat/test_daphne.py",
    "channels/version.py": "one constant, checked by tests/test_packaging.py",
}
"""Modules, or folders of modules, whose tests have another name, and which."""


def modules() -> list[Path]:
    found = [path.relative_to(ROOT) for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return [
        path
        for path in found
        if path.name not in ("__init__.py", "__main__.py")
        and "migrations" not in path.parts
        and not any(path.is_relative_to(exempt) for exempt in ELSEWHERE)
    ]


def mirrors(module: Path) -> list[Path]:
    """Where the tests may be: beside the tests of the same folder, or one file for a whole folder."""
    own = ROOT / "tests" / module.parent / f"test_{module.stem}.py"
    folder = ROOT / "tests" / module.parent.parent / f"test_{module.parent.name}.py"
    return [own] if len(module.parts) == 2 else [own, folder]


@pytest.mark.parametrize("module", modules(), ids=str)
def test_every_module_has_a_test_file_of_its_name(module: Path) -> None:
    places = mirrors(module)
    assert any(place.exists() for place in places), f"write {places[0].relative_to(ROOT)}"


def test_what_is_exempt_exists() -> None:
    assert [exempt for exempt in ELSEWHERE if not (ROOT / exempt).exists()] == []
