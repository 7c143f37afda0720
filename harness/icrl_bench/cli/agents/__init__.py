"""Commands on trained agents: watching one adapt, taking its policy away."""
