"""Checks of who connects."""
