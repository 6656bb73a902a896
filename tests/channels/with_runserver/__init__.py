"""An application with a command of its own."""
