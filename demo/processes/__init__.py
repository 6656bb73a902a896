"""Processes: restarting the demo's own from its start page, and what happens to a WebSocket meanwhile."""
