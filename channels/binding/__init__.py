"""Changes of Django's models for those who watch, and changes by those who may."""

from .base import Binding

__all__ = ["Binding"]
