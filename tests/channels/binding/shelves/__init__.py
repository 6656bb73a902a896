"""An application with models to bind to."""
