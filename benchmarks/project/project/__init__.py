"""The measured project of all peers: one set of settings and views, consumers of both kinds.

``functions`` is for Millrace and for Channels 1.1.8, to be kept to what both know, ``classes`` for Channels 4.
"""
