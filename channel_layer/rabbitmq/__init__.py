"""The rabbitmq layer: channels and groups on queues and exchanges of RabbitMQ."""

from __future__ import annotations

try:
    from .layer import RabbitmqChannelLayer
except ModuleNotFoundError as error:
    if error.name != "pika":
        raise
    raise ImportError("the rabbitmq layer needs pika: pip install 'django-millrace[rabbitmq]'") from error

__all__ = ["RabbitmqChannelLayer"]
