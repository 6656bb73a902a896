"""The client: echoes, groups, many sockets, large messages, large bodies."""
