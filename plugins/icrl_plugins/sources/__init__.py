"""Sources: the reinforcement-learning algorithms that write learning histories."""
