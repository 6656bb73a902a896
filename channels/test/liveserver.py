"""`ChannelLiveServerTestCase`: a test case beside a real interface server and real workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

from django.test import TransactionTestCase, modify_settings

from channel_layer.registry import DEFAULT_CHANNEL_LAYER
from channels.configured_layers import ChannelLayerWrapper, channel_layers
from channels.live_addresses import LiveAddresses

from .layers import placed
from .live_database import on_disk
from .live_parts import ServerPart, WorkerPart
from .live_processes import Process
from .live_threads import Threaded
from .unittest_internals import EarlySetUp

__all__ = ["ChannelLiveServerTestCase"]


class ChannelLiveServerTestCase(EarlySetUp, LiveAddresses, TransactionTestCase):
    """Runs each test beside an interface server on a free port, and workers for every layer.

    They are processes of their own, as in production, that have the settings and the databases of the test; SQLite
    databases in memory are replaced by copies in files for the time of the class. Where a layer reaches no
    further than its process, the memory layer, they are threads of the test's process: they start
    faster, and patches of a test apply to them.

    The layers are those of CHANNEL_LAYERS with TEST_CONFIG in place of CONFIG, and are flushed before and after
    each test. What a test sends through `Channel` and `Group` goes to them too.

    Attributes:
        worker_threads: consumers that run at the same time.
        serve_static: whether workers answer with static files, also without DEBUG.
    """

    worker_threads: ClassVar[int] = 1
    serve_static: ClassVar[bool] = True

    @classmethod
    def setUpClass(cls) -> None:
        """Move databases in memory to files, before anything is put into them."""
        cls.enterClassContext(on_disk())
        super().setUpClass()

    def _set_up_early(self) -> None:
        super()._set_up_early()
        # Whatever becomes of the test, all of it has ended before Django flushes the databases.
        self.enterContext(modify_settings(ALLOWED_HOSTS={"append": self.host}))
        layers = self.enterContext(_test_layers())
        self._port = self.enterContext(self._serving(layers))

    @contextmanager
    def _serving(self, layers: list[ChannelLayerWrapper]) -> Iterator[int]:
        with ExitStack() as stack:
            server, worker = parts = self._start(layers, stack)
            port = server.wait_until_ready()
            worker.wait_until_ready()
            try:
                yield port
            finally:
                for part in parts:
                    part.hang_up()

    def _start(self, layers: list[ChannelLayerWrapper], stack: ExitStack) -> list[Any]:
        """Start both parts; the stack stops them, the server first."""
        if any(layer.local_only for layer in layers):
            worker: Any = Threaded(WorkerPart(layers, self.worker_threads, self.serve_static))
            stack.callback(worker.stop)
            server: Any = Threaded(ServerPart(channel_layers[DEFAULT_CHANNEL_LAYER], self.host))
        else:
            worker = Process(part="worker", threads=self.worker_threads, serve_static=self.serve_static)
            stack.callback(worker.stop)
            server = Process(part="server", alias=DEFAULT_CHANNEL_LAYER, host=self.host)
        stack.callback(server.stop)
        return [server, worker]


@contextmanager
def _test_layers() -> Iterator[list[ChannelLayerWrapper]]:
    """All layers with their TEST_CONFIG, empty, in their places."""
    with ExitStack() as stack:
        layers = []
        for alias in channel_layers.configs or [DEFAULT_CHANNEL_LAYER]:
            layer = channel_layers.make_test_backend(alias)
            layer.own_router()  # a bad route is an error here, not in a process with an output of its own
            stack.callback(layer.close)
            layer.flush()
            stack.callback(layer.flush)  # what nobody took belongs to no other test
            stack.enter_context(placed(alias, layer))
            layers.append(layer)
        yield layers
