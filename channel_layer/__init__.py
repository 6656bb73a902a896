"""Messages, channels and groups, and the layers that carry them."""
