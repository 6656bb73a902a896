"""`manage.py millrace verify`: faults under load, and what became of each message.

Real web servers and workers are started with the project's settings, on free ports and in a part of the channel layer
of their own. Clients keep them busy, and processes are stopped, killed and frozen meanwhile.
"""
