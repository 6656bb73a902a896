"""The help of the ``daphne`` command, in sections."""

from __future__ import annotations

from typing import Final

import click

SECTIONS: Final = {
    "Where to listen": (
        "port", "host", "unix_socket", "unix_socket_mode", "fd", "endpoint", "reuse_port", "ssl_keyfile",
        "ssl_certfile",
    ),
    "Log": ("verbosity", "access_log", "log_format"),
    "Metrics and health": (
        "metrics", "metrics_path", "metrics_allow", "health_path", "ready_path", "ready_needs_worker",
    ),
    "Behind a proxy": ("proxy_headers", "trusted_proxies", "root_path"),
    "WebSockets": (
        "subprotocols", "unordered", "permessage_deflate", "accept_timeout", "turn_timeout", "send_timeout",
        "outage_timeout", "websocket_life", "ping_interval", "ping_timeout", "close_timeout", "websocket_max_message",
        "websocket_max_fragments", "outbox_bytes", "outbox_timeout", "state_max", "trace_events",
    ),
    "Requests": (
        "http_timeout", "keep_alive", "header_timeout", "header_max_bytes", "header_max_fields", "request_line_max",
        "body_max", "body_timeout", "body_inline", "body_chunk", "body_memory", "stream_bodies",
    ),
    "Slow clients": ("response_buffer", "response_spool", "spool_dir", "spool_bytes", "spool_memory"),
    "The whole server": (
        "max_connections", "uplink_bytes", "retry_after", "drain_seconds", "graceful_timeout", "takeover",
    ),
}  # fmt: skip
"""Heading → the parameters below it."""


class SectionedCommand(click.Command):
    """A command whose options stand below headings; those that are in none stand last, as click has them."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        parameters = {parameter.name: parameter for parameter in self.get_params(context)}
        sections = {heading: [parameters.pop(name, None) for name in names] for heading, names in SECTIONS.items()}
        sections["More"] = list(parameters.values())
        for heading, members in sections.items():
            records = [member.get_help_record(context) for member in members if member is not None]
            if shown := [record for record in records if record is not None]:
                with formatter.section(heading):
                    formatter.write_dl(shown)
