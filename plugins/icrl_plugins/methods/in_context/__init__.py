"""Learning in the context of a sequence model: tokens, windows, models and the agent that the methods share."""
