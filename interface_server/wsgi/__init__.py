"""An interface server for HTTP inside any WSGI server; import `WsgiInterface` from here."""

from .application import ResponseCut, WsgiInterface, WsgiToAsgiAdapter

__all__ = ["ResponseCut", "WsgiInterface", "WsgiToAsgiAdapter"]
