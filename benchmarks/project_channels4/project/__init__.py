"""The measured project on Channels 4."""
