"""What is served over HTTP: health, readiness and metrics."""
