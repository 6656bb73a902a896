"""``manage.py demo_users``: two people to sign in as, on your own machine."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

PASSWORDS = {"ada": "analytical-engine", "bob": "water-wheel"}


class Command(BaseCommand):
    """The command."""

    help = "Makes sure that the users ada and bob are there, and prints how to sign in. Only with DEBUG."

    def handle(self, *args: Any, **options: Any) -> None:
        """Make who is missing; who is there stays as they are."""
        if not settings.DEBUG:
            raise CommandError("demo_users makes users whose passwords everybody knows; it works only with DEBUG on.")
        users = get_user_model().objects
        for name, password in PASSWORDS.items():
            user = users.filter(username=name).first()
            if user is None:
                users.create_user(name, password=password)
            known = f": {password}" if user is None or user.check_password(password) else " as you have changed it"
            self.stdout.write(f"{name}, password{known}")
