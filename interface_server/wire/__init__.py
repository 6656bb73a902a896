"""Bytes and their meaning: targets, request lines, heads, frames. No I/O, no state."""
