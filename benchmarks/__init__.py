"""Workloads that anyone can run against this build: `python -m benchmarks.uplinks`."""
