"""HTTP and WebSocket connections that another ASGI 3 server hosts."""
