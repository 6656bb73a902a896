"""Applications of Channels 2 to 4 in workers: how they are found, described to, carried from one worker to another."""
