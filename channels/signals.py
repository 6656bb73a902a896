"""Signals around workers and consumers.

* `consumer_started`, `consumer_finished`: around every consumer, in the thread that runs it, with the
  keyword argument ``message``. The database connections of that thread are looked after on both. Around an
  ``async def`` consumer both are sent in threads, not on its event loop.
* `worker_ready`: a worker has started to take messages.
* `worker_process_ready`: a worker process has loaded the project and is about to start its worker.
"""

from __future__ import annotations

from django.dispatch import Signal

from .db import close_old_connections

# Not use_caching=True: applications send consumer_finished with sender=None, as Channels 1 showed, and a
# signal that caches refuses that.
consumer_started = Signal()
consumer_finished = Signal()
worker_ready = Signal()
worker_process_ready = Signal()

LOOK_AFTER = "channels.close_old_connections"
"""The ``dispatch_uid`` of this package's own receivers."""

consumer_started.connect(close_old_connections, dispatch_uid=LOOK_AFTER)
consumer_finished.connect(close_old_connections, dispatch_uid=LOOK_AFTER)
