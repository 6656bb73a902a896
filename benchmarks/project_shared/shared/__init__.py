"""What the projects have in common: settings, one view, one address."""
