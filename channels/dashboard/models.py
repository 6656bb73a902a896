"""The permission to close connections, for which Django wants a model. It has no table."""

from __future__ import annotations

from django.db import models


class Connection(models.Model):  # noqa: DJ008 - no instance is ever made
    """A connection of a web server."""

    class Meta:
        """Nothing but a permission."""

        managed = False
        default_permissions = ()
        permissions = (("close_connection", "Can close connections"),)
