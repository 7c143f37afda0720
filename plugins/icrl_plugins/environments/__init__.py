"""Built-in environments: families of MuJoCo tasks whose goal the agent must find out."""
