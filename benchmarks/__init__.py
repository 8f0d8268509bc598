"""Benchmarks: one command a table, with the peers measured in the same run."""
