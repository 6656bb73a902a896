"""Between connections and the channel layer: messages, both directions, and state for the whole process."""
