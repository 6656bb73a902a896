"""The client of the studies: many sockets, large messages, large bodies."""
