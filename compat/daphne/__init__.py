"""Names that projects for Channels 2 to 4 use: ``"daphne"`` in INSTALLED_APPS, and the modules of daphne."""

from channels.version import __version__

__all__ = ["__version__"]
