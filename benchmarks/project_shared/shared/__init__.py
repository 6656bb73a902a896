"""What the two projects have in common: settings, one view, one address."""
