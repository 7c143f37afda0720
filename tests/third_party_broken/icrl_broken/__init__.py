"""Fails to import, as a plugin built against a library that is no longer there would."""

raise ImportError("libtensor.so.3: cannot open shared object file")
