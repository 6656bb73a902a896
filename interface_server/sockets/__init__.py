"""The descriptors of a process and the connections that use them."""
