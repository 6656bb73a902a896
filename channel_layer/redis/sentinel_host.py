"""A server that Sentinels choose: one of several, and another one after a failover."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ..exceptions import LayerUnavailable
from .hosts import check_server
from .moving_host import Address, MovingHost, Watch
from .scripts import Word
from .sentinels import Sentinels

logger = logging.getLogger(__name__)


class SentinelHost(MovingHost):
    """The primary of a service.

    Args:
        sentinels: know where it is.
        options: redis-py's arguments for connections to it; with ``ssl`` for TLS.
        label: what complaints call it.
        fence_key: of the layer; see ``fence.lua``.
        is_one_of_several: see `Host`.
    """

    guides: ClassVar[str] = "Sentinel"

    def __init__(
        self,
        sentinels: Sentinels,
        options: Mapping[str, Any],
        label: str,
        fence_key: str,
        is_one_of_several: bool = False,
    ) -> None:
        options = dict(options)
        scheme = "rediss" if options.pop("ssl", False) else "redis"
        database = options.pop("db", 0)
        super().__init__(
            sentinels,
            Watch(sentinels, "redis-sentinel"),
            {"address": f"{scheme}://localhost/{database}", **options},
            None,
            label,
            f"{scheme}+sentinel://{sentinels.service}/{database}",
            fence_key,
            is_one_of_several,
        )
        self.is_local = all(host.is_local for host in sentinels.hosts)
        self.sentinels = sentinels

    def check_role(self, info: Any, loaded: Sequence[Any]) -> None:
        """See `MovingHost.check_role`."""
        check_server(info, loaded, self.name)
        if not re.search(rb"^role:master", info, re.MULTILINE):
            raise LayerUnavailable(self.name, "the server that Sentinel names is a replica", uncertain=False)

    def place(self) -> list[Word]:
        """See `MovingHost.place`; whatever server is the primary next, it has its data from this one."""
        return ["", ""]

    def has_changed(self) -> None:
        """See `MovingHost.has_changed`."""
        logger.warning(
            "Redis at %s is another server than before, or was started again: messages that lay on it count as "
            "lost, since some may have been delivered already",
            self.name,
        )
        super().has_changed()

    def tell_of_move(self, before: Address, primary: Address) -> None:
        """See `MovingHost.tell_of_move`."""
        logger.warning("Redis at %s is now %s:%d, after a failover from %s:%d", self.name, *primary, *before)
