"""The ``daphne`` command."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import click

from channel_layer.draft import adapted, missing
from channel_layer.exceptions import LayerConfigurationError
from channel_layer.heap import heap
from channel_layer.installation import check_installation
from channel_layer.layer import ChannelLayer
from channel_layer.metrics import HOW_TO_INSTALL, is_available

from .application import Application
from .endpoints import UNIX_MODE, Endpoint, EndpointError, parse_mode
from .help import SectionedCommand
from .logs.server_log import FORMATS, LineHandler, formatter
from .monitoring import Answers, Condition, Port
from .options import Options, OptionsError
from .reaching import reach
from .server import build_server
from .sockets import descriptors
from .spool.file import SpoolFile
from .takeover.estate import TakeoverError
from .takeover.passage import check_directory, is_supported
from .takeover.systemd import SYSTEMD, is_there

logger = logging.getLogger("interface_server")

Command = Callable[..., None]

DISTRIBUTION = "django-millrace"

APPLICATIONS = "interface_server.applications"
"""Entry points by which a framework says how its applications are served: ``set_up`` and ``layer_of``."""

_DEFAULTS = Options()


def _limit(name: str, help_text: str, *declarations: str) -> Callable[[Command], Command]:
    """A click option for a field of `Options`, with its type and default."""
    default = getattr(_DEFAULTS, name)
    kind = float if Options.__annotations__[name] == "float" else int
    flags = declarations or (f"--{name.replace('_', '-')}",)
    return click.option(
        *flags, name, type=kind, default=default, show_default=True, help=help_text, callback=_minus_one_is_none
    )


def _minus_one_is_none(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """Take -1 for 0, no limit, where daphne 1 did; elsewhere it is refused later."""
    return 0 if value == -1 and parameter.name in ("websocket_life", "ping_timeout") else value


def spread_protocols(arguments: list[str]) -> list[str]:
    """``--ws-protocol a b`` as ``--ws-protocol a --ws-protocol b``: it took any number of words in daphne 1.

    The path of the channel layer has a colon, which no subprotocol has, so it ends them.
    """
    spread: list[str] = []
    in_protocols = False
    for position, argument in enumerate(arguments):
        if argument == "--":
            return spread + arguments[position:]
        if argument.startswith("-") or ":" in argument:
            in_protocols = argument == "--ws-protocol"
        elif in_protocols:
            spread.append("--ws-protocol")
        if argument != "--ws-protocol":
            spread.append(argument)
    return spread


class _Daphne(SectionedCommand):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread_protocols(args))


@click.command(cls=_Daphne, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("channel_layer", metavar="MODULE:APPLICATION")
@click.option("-p", "--port", type=click.IntRange(0, 65_535), help="Port to listen on.  [default: 8000]")
@click.option("-b", "--bind", "host", help="Host or address to listen on.  [default: 127.0.0.1]")
@click.option("--reuse-port", is_flag=True, help="Share the port with another daphne that is given this, "
              "for a restart without a gap.")  # fmt: skip
@click.option("-u", "--unix-socket", help="Listen on this Unix socket instead of a host and port.")
@click.option("--unix-socket-mode", metavar="OCTAL", help="Who may connect to it.  [default: 0660, owner and group]")
@click.option("--fd", type=int, help="Listen on an open socket with this file descriptor.")
@click.option("-e", "--endpoint", "endpoint", multiple=True, help="Listen here too: tcp:, ssl:, unix: or fd: string.")
@click.option("--ssl-keyfile", help="Private key file; serves TLS.")
@click.option("--ssl-certfile", help="Certificate file; serves TLS.")
@click.option("-v", "--verbosity", type=click.IntRange(0, 3), default=1, show_default=True,
              help="0 warnings only, 1 requests too, 2 each message.")  # fmt: skip
@click.option("--access-log", help="File of the access log, - for standard output.  [default: - unless -v 0]")
@click.option("--log-format", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True,
              help="Form of the log on standard error: lines for people, or an object a line.")  # fmt: skip
@click.option("--root-path", default="", help="Where the application is mounted (SCRIPT_NAME).")
@click.option("--proxy-headers", is_flag=True, help="Take the client from X-Forwarded-For of trusted proxies.")
@click.option("--trusted-proxy", "trusted_proxies", multiple=True, help="Address or network of a proxy, or *; "
              "may be repeated.  [default: 127.0.0.1, ::1]")  # fmt: skip
@click.option("--ws-protocol", "subprotocols", multiple=True, help="WebSocket subprotocols spoken, one or several.")
@click.option("--unordered", is_flag=True, help="Do not wait for a consumer before sending a socket's next message.")
@click.option("--spool-dir", default="", help="Directory for large bodies and responses that wait for slow clients.  "
              "[default: that for temporary files]")  # fmt: skip
@click.option("--stream-bodies", is_flag=True, help="Hand a request over before its body is complete.")
@click.option("--permessage-deflate", is_flag=True, help="Offer compression of WebSocket messages.")
@click.option("--health-path", default="", metavar="PATH",
              help="Say here whether the server works, for example /-/healthz.")  # fmt: skip
@click.option("--ready-path", default="", metavar="PATH",
              help="Say here whether it is to get new connections, for example /-/readyz.")  # fmt: skip
@click.option("--ready-needs-worker", is_flag=True, help="It is not while no worker listens.")
@click.option("--metrics", default="", metavar="[HOST:]PORT",
              help="Serve metrics for Prometheus, and health, on a port of their own.")  # fmt: skip
@click.option("--metrics-path", default="", metavar="PATH",
              help="Serve metrics on the port of clients, too, to those of --metrics-allow.")  # fmt: skip
@click.option("--metrics-allow", multiple=True, metavar="NETWORK",
              help="Address or network that gets metrics there; may be repeated.")  # fmt: skip
@click.option("--trace-events", is_flag=True, help="Keep the last events of every WebSocket for manage.py millrace "
              "connection, not only of those that were looked at.")  # fmt: skip
@click.option("--force-sync", is_flag=True, hidden=True, help="No effect.")
@_limit("http_timeout", "Seconds a request waits for its answer (504).", "-t", "--http-timeout")
@_limit("ping_interval", "Seconds between WebSocket pings; 0 sends none.")
@_limit("ping_timeout", "Seconds a pong may take; 0 waits without limit.")
@_limit("websocket_life", "Longest life of a WebSocket in seconds; 0 is no limit.",
        "--websocket_timeout", "--websocket-timeout")  # fmt: skip
@_limit("accept_timeout", "Seconds a handshake waits for a consumer (503).",
        "--websocket_connect_timeout", "--websocket-connect-timeout", "--accept-timeout")  # fmt: skip
@_limit("turn_timeout", "Seconds a socket waits for a consumer before its next message.")
@_limit("send_timeout", "Seconds a frame waits for room on its channel (1013).")
@_limit("outage_timeout", "Seconds a frame waits for a channel layer that is away (1013).")
@_limit("websocket_max_message", "Bytes of a WebSocket message (1009).")
@_limit("websocket_max_fragments", "Fragments of a WebSocket message (1009).")
@_limit("header_max_bytes", "Bytes of all header fields (431).")
@_limit("header_max_fields", "Number of header fields (431).")
@_limit("request_line_max", "Bytes of the request line (414).")
@_limit("header_timeout", "Seconds to send the headers (408).")
@_limit("body_inline", "Bytes of a body that travel in the request message.")
@_limit("body_chunk", "Bytes of a chunk of the rest.")
@_limit("body_max", "Bytes of a request body (413).")
@_limit("body_memory", "Bytes of a body held in memory; more goes to the spool file.")
@_limit("body_timeout", "Longest pause of a client that sends a body (408).")
@_limit("keep_alive", "Seconds an idle HTTP connection stays open.")
@_limit("max_connections", "HTTP and WebSocket connections (503).")
@_limit("retry_after", "Seconds that a 503 asks clients to wait.")
@_limit("outbox_bytes", "Bytes that wait for one WebSocket client (1013).")
@_limit("outbox_timeout", "Seconds in which a WebSocket client must take something (1013).")
@_limit("close_timeout", "Seconds a client may take to answer a close.")
@_limit("response_buffer", "Bytes of a response that wait in memory for one client.")
@_limit("response_spool", "Bytes of a response that wait for one client in all.")
@_limit("spool_bytes", "Bytes of all bodies in the spool file (503).")
@_limit("spool_memory", "Bytes of all bodies in memory before they go to the spool file early.")
@_limit("uplink_bytes", "Bytes that wait for the channel layer in all (503).")
@_limit("state_max", "Bytes of state that a consumer may leave with a WebSocket.")
@_limit("graceful_timeout", "Longest stop of the server in seconds.")
@_limit("drain_seconds", "At a stop, close WebSockets one after the other over so many seconds before that.")
@click.option("--takeover", default="", metavar="PATH|systemd",
              help="Take over the open sockets of the server that listens on this Unix socket, "
              "and listen there for the next one; or, with systemd, those that wait in its store.")  # fmt: skip
@click.version_option(package_name=DISTRIBUTION, prog_name="daphne", message="%(prog)s (%(package)s) %(version)s")
def main(channel_layer: str, **values: Any) -> None:
    """Serve HTTP and WebSockets over a channel layer, behind which workers run the code.

    The argument names an ASGI application, as daphne project.asgi:application, which is served over the default channel
    layer of its project; or a channel layer, as daphne project.asgi:channel_layer.
    """
    try:
        serve(channel_layer, values)
    except (OptionsError, EndpointError, LayerConfigurationError, LayerPathError, TakeoverError) as error:
        raise click.ClickException(_sentence(str(error))) from None


class LayerPathError(Exception):
    """The command's argument does not name a channel layer or an application; the text is one sentence."""


def serve(path: str, values: dict[str, Any]) -> None:
    """Do what the command line says, until a signal ends it.

    Raises:
        LayerPathError, LayerConfigurationError, OptionsError, EndpointError: it cannot be done.
    """
    sys.path.insert(0, os.getcwd())
    heap.keep_freed()
    _configure_logging(values["verbosity"], values["log_format"])
    check_installation()
    endpoints = endpoints_of(values)
    for endpoint in endpoints:
        endpoint.context()  # a missing certificate is found before anything is opened
    options = options_of(values)
    check_metrics(options)
    check_takeover(options)
    check_spool(options)
    layer = load_layer(path)
    if getattr(layer, "local_only", False):
        raise LayerConfigurationError(
            f"{path} ({layer.describe()}) reaches no further than one process, so no worker would ever get a message "
            "of this one; use the sqlite or redis layer, or manage.py runserver"
        )
    _allow_descriptors(options.max_connections)
    reach(layer)
    try:
        application = Application(layer, options)
        server = build_server(application, endpoints=endpoints)
        with monitored(application):
            server.run()
    except OSError as error:
        if options.access_log and error.filename == options.access_log:
            raise OptionsError(f"cannot write the access log {options.access_log}: {error.strerror}") from None
        raise


def check_takeover(options: Options) -> None:
    """Make sure that sockets can be handed over if that is asked for; raises `OptionsError` or `TakeoverError`."""
    if options.takeover:
        if not is_supported():
            raise OptionsError("--takeover needs Linux; leave it away, and let clients connect again after a restart")
        if options.takeover != SYSTEMD:
            check_directory(options.takeover)
        elif not is_there():
            raise OptionsError(
                "--takeover systemd is for a service of systemd with Type=notify and FileDescriptorStoreMax=; "
                "elsewhere name the path of a Unix socket"
            )


def check_metrics(options: Options) -> None:
    """Make sure that metrics can be made if they are asked for; raises `OptionsError`."""
    wanted = "--metrics" if options.metrics else "--metrics-path"
    if (options.metrics or options.metrics_path) and not is_available():
        raise OptionsError(f"{wanted} needs the package prometheus-client; install it: {HOW_TO_INSTALL}")


@contextlib.contextmanager
def monitored(application: Application) -> Iterator[None]:
    """Serve metrics and health on the port of their own, if there is to be one; raises `OptionsError`."""
    if not application.options.metrics:
        yield
        return

    def ask(what: Callable[[Answers], Condition]) -> Condition:
        monitor = application.monitor
        return Condition(False, "the server does not run") if monitor is None else what(monitor.answers)

    def render(accept: str) -> tuple[str, bytes]:
        monitor = application.monitor
        return ("text/plain", b"") if monitor is None else monitor.render(accept)

    own = Port(
        application.options.metrics,
        Answers(lambda: ask(lambda answers: answers.health()), lambda: ask(lambda answers: answers.ready()), render),
        shared=bool(application.options.takeover),  # the server before this one may be there still
    )
    own.start()
    try:
        yield
    finally:
        own.close()


def check_spool(options: Options) -> None:
    """Make sure that large bodies can be kept where the options say; raises `OptionsError`."""
    file = SpoolFile(options.spool_dir, options.spool_bytes, options.spool_memory)
    try:
        file.open()
    except OSError as error:
        raise OptionsError(
            f"cannot keep large bodies in {error.filename}: {error.strerror}; name another directory with --spool-dir"
        ) from None
    file.close()


def load_layer(path: str) -> ChannelLayer:
    """Import ``module:attribute``: a channel layer, or an application, which is served over its project's layer.

    Raises:
        LayerPathError: it is not there or something else. Errors inside the module come through as they are,
            since they are the user's own code.
    """
    module_name, mark, attribute = path.partition(":")
    if not mark or not module_name or not attribute:
        raise LayerPathError(
            f"{path!r} is not the path of an application or a channel layer; write module:attribute, as "
            "project.asgi:application"
        )
    try:
        found: Any = _imported(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise
        raise LayerPathError(
            f"there is no module {error.name!r} to import {path!r} from; run daphne in the project's directory"
        ) from None
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise LayerPathError(f"the module {module_name!r} has no {attribute!r}; name the channel layer in it")
        found = getattr(found, name)
    problem = _why_no_layer(found)
    if problem is None:
        return adapted(found)
    layer_of = _of_framework("layer_of")
    if callable(found) and not inspect.isclass(found) and layer_of is not None:
        return adapted(layer_of(found))
    raise LayerPathError(f"{path!r} is {problem}, not an ASGI application or a channel layer; give it an application, "
                         "for example a ProtocolTypeRouter, or a layer: channels.asgi.get_channel_layer()")  # fmt: skip


def _imported(module_name: str) -> Any:
    """Import a module; once more, with the framework set up, if it needs that and does it too late."""
    try:
        return importlib.import_module(module_name)
    except Exception as error:
        set_up = _of_framework("set_up")
        if type(error).__name__ != "AppRegistryNotReady" or set_up is None:
            raise
        set_up()
        return importlib.import_module(module_name)


def _of_framework(name: str) -> Callable[..., Any] | None:
    """A function of the framework that applications are written for, if one is installed; see `APPLICATIONS`."""
    for entry in importlib.metadata.entry_points(group=APPLICATIONS, name=name):
        function: Callable[..., Any] = entry.load()
        return function
    return None


def endpoints_of(values: dict[str, Any]) -> list[Endpoint]:
    """Endpoints that the command line names; the default one if it names none.

    Raises:
        EndpointError: one cannot be, or a mode is given and no Unix socket.
    """
    tls = {"key_file": values["ssl_keyfile"], "cert_file": values["ssl_certfile"]}
    endpoints = [Endpoint.parse(text) for text in values["endpoint"]]
    mode = values["unix_socket_mode"]
    if values["unix_socket"]:
        endpoints.append(Endpoint(path=values["unix_socket"], mode=parse_mode(mode) if mode else UNIX_MODE, **tls))
    elif mode:
        raise EndpointError("--unix-socket-mode goes with --unix-socket, which is not there")
    if values["fd"] is not None:
        endpoints.append(Endpoint(fd=values["fd"], **tls))
    if values["port"] is not None or values["host"] is not None or not endpoints:
        port = 8000 if values["port"] is None else values["port"]
        endpoints.append(Endpoint(host=values["host"] or "127.0.0.1", port=port, **tls))
    return [replace(endpoint, reuse_port=True) for endpoint in endpoints] if values["reuse_port"] else endpoints


def options_of(values: dict[str, Any]) -> Options:
    """The server's options as the command line gives them; raises `OptionsError`."""
    known = {name: values[name] for name in values if hasattr(_DEFAULTS, name)}
    if known["access_log"] is None:
        known["access_log"] = "-" if known["verbosity"] else ""
    if not known["trusted_proxies"]:
        known["trusted_proxies"] = _DEFAULTS.trusted_proxies
    known["root_path"] = known["root_path"].rstrip("/")
    return Options(**known)


def _why_no_layer(found: Any) -> str | None:
    if inspect.isclass(found):
        return f"the class {found.__name__}"
    if all(callable(getattr(found, name, None)) for name in ("prepare", "asend_batch", "areceive_batch")):
        return None
    if not missing(found):  # a layer for Channels 1
        return None
    if callable(found):
        return "callable (an ASGI or WSGI application?)"
    return f"of type {type(found).__name__}"


def _configure_logging(verbosity: int, log_format: str) -> None:
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG)
    root = logging.getLogger()
    if not root.handlers:
        handler = LineHandler()
        handler.setFormatter(formatter(log_format))
        root.addHandler(handler)
    logging.getLogger("interface_server").setLevel(level)


def _allow_descriptors(connections: int) -> None:
    """Raise the limit of open files to what the connections need; log a warning if the system allows less."""
    wanted = descriptors.needed(connections)
    descriptors.raise_limit(wanted)
    served = descriptors.shares(connections).served
    if served < connections:
        logger.warning(
            "the system allows %d open files, enough for %d connections and not for %d (--max-connections); "
            "further ones get 503. Allow %d: ulimit -n, or LimitNOFILE= in systemd",
            descriptors.soft_limit(), served, connections, wanted,
        )  # fmt: skip


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."


if __name__ == "__main__":
    main()
