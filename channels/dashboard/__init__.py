"""A page for staff: processes, channels, consumers, errors and rates, live.

``channels.dashboard`` in INSTALLED_APPS and one line in ``urls.py`` install it:
``path("millrace/", include("channels.dashboard.urls"))``.
"""
