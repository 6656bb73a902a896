"""Prices: bitcoin and litecoin, a new price each second, drawn as they come."""
