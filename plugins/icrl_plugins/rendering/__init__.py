"""How the built-in environments are drawn for `icrl-bench watch`. No environment imports it: it is in no content hash."""
