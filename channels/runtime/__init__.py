"""Django around each message that a worker runs: signals, context, threads, and routes that are checked."""
