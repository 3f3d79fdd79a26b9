"""`python -m enos_ingest` is the command `enos-ingest`."""

from enos_ingest.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
