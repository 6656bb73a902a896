"""Real processes, real brokers, a real browser."""
