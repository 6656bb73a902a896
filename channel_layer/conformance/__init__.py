"""The public conformance suite: what every channel layer must do, as tests any layer can inherit.

Needs pytest and nothing else. Write a class that inherits `ConformanceSuite` and give it the fixture
``make_layer``; pytest finds the tests::

    import pytest
    from channel_layer.conformance import ConformanceSuite

    class TestMyLayer(ConformanceSuite):
        @pytest.fixture
        def make_layer(self):
            made = []
            def make(**options):
                made.append(MyLayer(url=..., prefix=..., **options))
                return made[-1]
            yield make
            for layer in made:
                layer.flush()
                layer.close()

``make_layer(**options)`` returns a layer made with options of `channel_layer.layer.ChannelLayer`. The
layers of one test share one store that starts out empty, and each stands for another process. A layer
that reaches no further than its process (``local_only``) returns the same layer again.

Four things may be set on the class: `Tools.wait` for layers whose clock a test can move, `Tools.let_run` if
such a move leaves their heartbeats behind, `Tools.elsewhere` for layers that can keep several stores apart, and
`Tools.orders_groups` for those that order no messages to groups among others.

For readable failures put ``pytest.register_assert_rewrite("channel_layer.conformance")`` into
``conftest.py``, ahead of the import.
"""

from __future__ import annotations

from .asynchronous import AsyncRules
from .capacity import CapacityRules
from .concurrency import ConcurrencyRules
from .exchanges import ExchangeRules
from .groups import GroupRules
from .inspection import InspectionRules
from .last_wills import LastWillRules
from .messages import MessageRules
from .naming import NameRules
from .queues import QueueRules
from .reports import ReportRules
from .tools import MakeLayer, Tools


class ConformanceSuite(
    MessageRules,
    NameRules,
    QueueRules,
    CapacityRules,
    GroupRules,
    ConcurrencyRules,
    ExchangeRules,
    AsyncRules,
    LastWillRules,
    ReportRules,
    InspectionRules,
):
    """Every rule of the contract. A subclass provides the fixture ``make_layer``."""


__all__ = ["ConformanceSuite", "MakeLayer", "Tools"]
