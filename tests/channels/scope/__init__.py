"""Tests of `channels.scope`."""
