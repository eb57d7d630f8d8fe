"""Where messages go: one module per kind of channel, and what they have in common in `base`."""
