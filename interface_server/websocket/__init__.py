"""One WebSocket: protocol, handshake, turns, end."""
