"""The invariant and fault suites in full: `make soak`. What it found is written to docs/soak.md."""
