"""The layer of asgi_ipc, under the name that applications for Channels 1 import and subclass."""

from .core import IPCChannelLayer

__all__ = ["IPCChannelLayer"]
