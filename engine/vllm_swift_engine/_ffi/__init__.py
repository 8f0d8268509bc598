"""The C interface as seen from Python; no other package touches cffi."""
