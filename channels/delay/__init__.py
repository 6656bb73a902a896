"""Messages that are sent later: the application ``channels.delay``."""
