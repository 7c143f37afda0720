"""The conformance suite that plugin authors run, and a toy problem small enough for unit tests."""
