"""Chat rooms: everybody in a room sees a new message at once."""
