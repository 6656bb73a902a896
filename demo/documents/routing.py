"""Sockets of the documents, below the path they are included at."""

from __future__ import annotations

from channels.routing import route_class
from demo.documents.consumers import DocumentPage, ListPage

channel_routing = [
    route_class(ListPage, path=r"^/$"),
    route_class(DocumentPage, path=r"^/(?P<pk>[1-9]\d{0,17})/$"),
]
