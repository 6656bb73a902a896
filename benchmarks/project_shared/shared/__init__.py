"""Common parts of the projects: settings, views, addresses."""
