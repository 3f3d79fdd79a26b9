"""What else one would build: peers that this build is measured against. `python -m benchmarks.peers --help`."""
