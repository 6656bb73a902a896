"""Static files through workers, for development: what `django.contrib.staticfiles` finds, under STATIC_URL."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import urlparse

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandlerMixin
from django.core.handlers.exception import response_for_exception
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from .handler import AsgiHandler, ViewConsumer
from .runtime.django_internals import close_with, serves

__all__ = ["StaticFilesConsumer", "StaticFilesHandler", "http_consumer"]


class StaticFilesHandler(StaticFilesHandlerMixin, AsgiHandler):
    """Answers requests below STATIC_URL with files, everything else with views."""

    def __init__(self) -> None:
        self.base_url = urlparse(self.get_base_url())
        super().__init__()

    def load_middleware(self, is_async: bool = False) -> None:
        """Load the middleware; files do without it."""
        AsgiHandler.load_middleware(self, is_async)

    def get_response(self, request: HttpRequest) -> HttpResponseBase:
        """The file, or the view's response."""
        if not serves(self, request.path):
            return AsgiHandler.get_response(self, request)
        response: HttpResponseBase
        try:
            response = self.serve(request)
        except Exception as error:  # a path that leads out of the directory, for example
            response = response_for_exception(request, error)
        close_with(response, request.close)
        return response


class StaticFilesConsumer(ViewConsumer):
    """`ViewConsumer` with static files in front."""

    handler_class: ClassVar[type[AsgiHandler]] = StaticFilesHandler


def http_consumer(static: bool = True, insecure: bool = False) -> ViewConsumer:
    """The consumer for HTTP requests of a command: with static files if it is asked to and DEBUG is on.

    Args:
        static: whether static files are wanted.
        insecure: serve them also without DEBUG.
    """
    wanted = static and (settings.DEBUG or insecure) and apps.is_installed("django.contrib.staticfiles")
    return StaticFilesConsumer() if wanted else ViewConsumer()
