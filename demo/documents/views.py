"""Pages of the documents. What is on them comes over their sockets."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from demo.documents.models import TEXT_LENGTH, TITLE_LENGTH, Document


@login_required
def documents(request: HttpRequest) -> HttpResponse:
    """The list of documents, and who is here."""
    return render(request, "documents/list.html", {"me": who_asks(request), "title_length": TITLE_LENGTH})


@login_required
def document(request: HttpRequest, pk: int) -> HttpResponse:
    """A document, to read or to edit."""
    context = {
        "me": who_asks(request),
        "document": get_object_or_404(Document, pk=pk),
        "text_length": TEXT_LENGTH,
    }
    return render(request, "documents/document.html", context)


def who_asks(request: HttpRequest) -> dict[str, object]:
    """The signed-in user, ready for JSON."""
    return {"id": request.user.pk, "name": request.user.get_username()}
