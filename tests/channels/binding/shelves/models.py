"""Models of several kinds."""

from __future__ import annotations

import uuid

from django.db import models


class Shelf(models.Model):
    name = models.CharField(max_length=50)

    class Meta:
        app_label = "shelves"

    def __str__(self) -> str:
        return self.name


class Tag(models.Model):
    word = models.CharField(max_length=50)

    class Meta:
        app_label = "shelves"

    def __str__(self) -> str:
        return self.word


class Book(models.Model):
    title = models.CharField(max_length=50)
    shelf = models.ForeignKey(Shelf, models.CASCADE, null=True, related_name="books")
    price = models.DecimalField(max_digits=6, decimal_places=2, default=1)
    pages = models.IntegerField(default=0)
    added = models.DateTimeField(auto_now_add=True)
    tags = models.ManyToManyField(Tag)

    class Meta:
        app_label = "shelves"

    def __str__(self) -> str:
        return self.title

    @property
    def half(self) -> int:
        return self.pages // 2

    def shout(self) -> str:
        return self.title.upper()


class Novel(Book):
    mood = models.CharField(max_length=50)

    class Meta:
        app_label = "shelves"


class Crime(Novel):
    culprit = models.CharField(max_length=50)

    class Meta:
        app_label = "shelves"


class Token(models.Model):
    key = models.UUIDField(primary_key=True, default=uuid.uuid4)
    label = models.CharField(max_length=50)

    class Meta:
        app_label = "shelves"

    def __str__(self) -> str:
        return self.label


class Country(models.Model):
    code = models.CharField(max_length=2, primary_key=True)
    name = models.CharField(max_length=50)

    class Meta:
        app_label = "shelves"

    def __str__(self) -> str:
        return self.name


MODELS = [Shelf, Tag, Book, Novel, Crime, Token, Country]
