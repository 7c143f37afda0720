"""Protocols: everything that must be equal for two rows to be comparable, as TOML files with frozen, hashed splits."""
