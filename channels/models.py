"""No models. Django imports this module of every application, and so the check that it registers.

That goes for an application whose other files are those of another distribution, too: Channels 4 has no ``models.py``,
so this one stays when it is installed over this distribution, and can tell.
"""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, register

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.installation import check_installation

# Not from .checks, which may be somebody else's.
TAG = "channels"


@register(TAG)
def check_imports(**kwargs: object) -> list[CheckMessage]:
    """The packages that get imported are this distribution's own."""
    try:
        check_installation()
    except LayerConfigurationError as error:
        return [Error(str(error), id="channels.E004")]
    return []
