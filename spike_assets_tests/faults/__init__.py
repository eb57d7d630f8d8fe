"""What goes wrong, with real servers and real processes: the platform heals, and ends in the same tables."""
