"""Requests and responses of Django as messages: the inside of `channels.handler`."""
