"""Open sockets that go from one ``daphne`` to the next."""
