"""Routing of the test project."""

channel_routing: list[object] = []
