"""The layers of channels_redis, under the names that applications for Channels 2 to 4 import."""
