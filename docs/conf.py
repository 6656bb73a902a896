"""The documentation site; ``make docs`` builds it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "compat"), str(Path(__file__).parent / "_extensions")]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "documented_settings")

import django  # noqa: E402

django.setup()

from channels.version import __version__  # noqa: E402

project = "Millrace"
author = "Millrace contributors"
copyright = "Millrace contributors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "options", "names", "repository"]
exclude_patterns = ["_build", "_extensions", "reliability-table.md", "scaling-tables.md"]  # included in others
html_theme = "furo"
html_title = f"Millrace {release}"
html_show_sphinx = False

myst_heading_anchors = 3
myst_links_external_new_tab = False

default_role = "py:obj"
nitpicky = True
nitpick_ignore = [
    # In signatures, of no interest outside their modules.
    ("py:class", "channel_layer.conformance.tools.Taken"),
    ("py:class", "channel_layer.messages.ResponseChunk"),
    ("py:class", "channel_layer.messages.SocketReply"),
    ("py:class", "channel_layer.reports.Report"),
    ("py:class", "channels.auth.R"),
    ("py:class", "channels.db.R"),
    ("py:class", "channels.decorating.Decorator"),
    ("py:class", "channels.sessions.R"),
    ("py:class", "interface_server.monitor.Monitor"),
    ("py:class", "routing.routes.Matching"),
    ("py:class", "routing.routes.MessageRouter"),
    ("py:class", "routing.routes.OwnEntry"),
    ("py:class", "routing.routes.RoutedMessage"),
    ("py:class", "routing.signature.Wrapper"),
    ("py:class", "workers.lifespan.Lifespan"),
    ("py:class", "workers.sync_side.SyncSide"),
    # Named for those who read the code.
    ("py:obj", "channel_layer.cipher"),
    ("py:obj", "channel_layer.codec.pack_body"),
    ("py:obj", "channel_layer.messages"),
    ("py:obj", "channel_layer.redis.keys"),
    ("py:obj", "workers.instances"),
    ("py:obj", "channels.http.encoding.encode"),
]
suppress_warnings = ["ref.python"]  # a name that two rooms have leads to the upper one

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 100
