"""Tests of `channels.testing`."""
