"""Sockets to messages and back: HTTP and WebSocket connections over a channel layer."""
