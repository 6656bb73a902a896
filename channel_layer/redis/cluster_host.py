"""A part of the layer in a cluster: the keys of one hash tag, on whatever node serves their slot."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ..exceptions import LayerUnavailable, LayerUnusable
from .cluster import SlotGuide
from .hosts import check_server
from .moving_host import Address, MovingHost, Watch
from .scripts import Word

logger = logging.getLogger(__name__)


class ClusterHost(MovingHost):
    """The node that serves one slot.

    Args:
        guide: of the slot.
        watch: of the cluster.
        spec: any node, for what is not its place: TLS, user, password.
        connection_kwargs: see `Host`.
        tag: what the slot is of.
        fence_key: of the layer; see ``fence.lua``.
    """

    guides: ClassVar[str] = "the cluster"
    redirects = True

    def __init__(
        self,
        guide: SlotGuide,
        watch: Watch,
        spec: Any,
        connection_kwargs: Mapping[str, Any] | None,
        tag: str,
        fence_key: str,
    ) -> None:
        super().__init__(
            guide, watch, spec, connection_kwargs, "hosts", f"{guide.cluster.name}/{{{tag}}}", fence_key, True
        )
        self._guide: SlotGuide = guide

    def check_role(self, info: Any, loaded: Sequence[Any]) -> None:
        """See `MovingHost.check_role`."""
        check_server(info, loaded, self.name, in_cluster=True)
        if re.search(rb"^(?:redis|server)_mode:standalone", info, re.MULTILINE):
            raise LayerUnusable(self.name, f"Redis at {self.name} is not in cluster mode any more.", uncertain=False)
        if not re.search(rb"^role:master", info, re.MULTILINE):
            raise LayerUnavailable(self.name, "the node that serves the slot is a replica by now", uncertain=False)

    def place(self) -> list[Word]:
        """See `MovingHost.place`."""
        found = self._guide.cluster.range_of(self._guide.slot)
        if found is None:
            return ["", ""]
        return [found.node, f",{','.join(sorted(found.nodes))},"]

    def is_replaced(self, before: Address, primary: Address) -> bool:
        """See `MovingHost.is_replaced`; a node that gave its slot away says so, and a call may be under way there."""
        return self._guide.cluster.may_have_replaced(primary, before)

    def moved(self, address: Address) -> None:
        """A node says that another one serves the slot."""
        self._guide.cluster.moved(self._guide.slot, address)

    def tell_of_move(self, before: Address, primary: Address) -> None:
        """See `MovingHost.tell_of_move`."""
        logger.warning("Redis at %s is now %s:%d; it was %s:%d", self.name, *primary, *before)
