"""Applications by ASGI's definition (``scope``, ``receive``, ``send``): what routes them and fills their scope."""
