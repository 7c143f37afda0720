"""Grid worlds in the dark: an agent sees the cell that it stands on, and must find out where the reward is."""
