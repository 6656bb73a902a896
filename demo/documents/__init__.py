"""Documents: who is here, who reads or edits what, and every change at once on every page."""
