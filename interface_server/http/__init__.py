"""One HTTP request and its response: protocol, exchange, and the bodies of both directions."""
