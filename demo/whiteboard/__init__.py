"""A shared whiteboard, written for Channels 4: a consumer with `scope` and state on `self`, deployed as people draw."""
