"""Bytes that wait for a slow reader, in memory or in one anonymous file."""
