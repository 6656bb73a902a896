"""The server's log and its access log; no caller waits for a reader."""
