"""The reference names everything that is public."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from channel_layer.memory import MemoryChannelLayer
from channel_layer.redis import RedisChannelLayer
from channel_layer.sqlite import SqliteChannelLayer
from interface_server.bridge.messages import MessageFactory
from interface_server.options import Options

from .pages import DOCS, ROOT

REFERENCE = "\n".join(page.read_text() for page in sorted((DOCS / "reference").glob("*.md")))
NOT_FOR_APPLICATIONS = {"MakeLayer", "capacities", "http_consumer"}


def public_names(module: Path) -> list[str]:
    """What a module's ``__all__`` says, without importing it."""
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def documented() -> set[str]:
    """Names that the reference has, each by itself or with its whole module."""
    names = set(re.findall(r"^\.\. (?:auto|py:)\w+:: [\w.]*?(\w+)(?:\(.*\))?$", REFERENCE, re.MULTILINE))
    for dotted in re.findall(r"automodule:: (\S+)", REFERENCE):
        path = ROOT.joinpath(*dotted.split("."))
        module = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        definitions = [node for node in ast.parse(module.read_text()).body if hasattr(node, "name")]
        names.update(public_names(module) or [node.name for node in definitions])
    return names


def test_every_public_name_is_in_the_reference() -> None:
    rooms = ("channels", "routing", "workers", "channel_layer")
    modules = [module for room in rooms for module in (ROOT / room).rglob("*.py")]
    public = {name for module in modules for name in public_names(module)}
    assert {"Channel", "WSClient", "RedisChannelLayer"} <= public
    assert public - documented() - NOT_FOR_APPLICATIONS == set()


@pytest.mark.parametrize("backend", [RedisChannelLayer, SqliteChannelLayer, MemoryChannelLayer])
def test_the_settings_page_has_every_option_of_a_backend(backend: Any) -> None:
    text = (DOCS / "reference" / "settings.md").read_text()
    options = {name for cls in inspect.getmro(backend)[:2] for name in inspect.signature(cls).parameters}
    missing = [name for name in options - {"options", "clock"} if f"| `{name}` |" not in text]
    assert missing == []


def test_the_messages_page_has_every_key_that_an_interface_server_sends() -> None:
    text = (DOCS / "reference" / "messages.md").read_text()
    factory = MessageFactory(Options())
    scope = {"method": "GET", "path": "/", "headers": []}
    keys = {*factory.request(scope, "a!b", b"", "body?c"), *factory.connect(scope, "a!b")}
    assert [key for key in keys if f"`{key}`" not in text] == []


def test_every_option_of_a_server_has_a_description() -> None:
    described = (inspect.getdoc(Options) or "").partition("Attributes:")[2]
    assert [field.name for field in dataclasses.fields(Options) if f"\n    {field.name}: " not in described] == []


def test_every_option_of_daphne_can_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(DOCS / "_extensions"))
    listed = [written for written, _ in importlib.import_module("options").DaphneOptions.options_of(None)]
    assert {"--log-format text|json", "--stream-bodies", "--body-max NUMBER"} <= set(listed)
