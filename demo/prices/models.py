"""Two coins and what they cost, second by second."""

from __future__ import annotations

from django.db import models

HISTORY_SECONDS = 300
"""How far back prices are kept and shown."""


class Coin(models.TextChoices):
    """What there is a price of."""

    BITCOIN = "bitcoin", "Bitcoin"
    LITECOIN = "litecoin", "Litecoin"

    @property
    def group_name(self) -> str:
        """Name of the group of everybody who watches this coin."""
        return f"prices-{self.value}"


class Price(models.Model):
    """What a coin cost at one second, in dollars."""

    coin = models.CharField(max_length=20, choices=Coin.choices)
    second = models.PositiveBigIntegerField(help_text="Unix time")
    value = models.DecimalField(max_digits=12, decimal_places=2)

    class Meta:
        ordering = ["coin", "second"]
        constraints = [models.UniqueConstraint(fields=["coin", "second"], name="prices_once_a_second")]

    def __str__(self) -> str:
        return f"{self.get_coin_display()} at {self.second}: {self.value} $"

    def as_pair(self) -> tuple[int, float]:
        """What the page needs to draw it, ready for JSON."""
        return self.second, float(self.value)
