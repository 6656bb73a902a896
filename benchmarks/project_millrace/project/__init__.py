"""The measured project of Millrace and of Channels 1.1.8, which share what they offer: to be kept to what both know."""
