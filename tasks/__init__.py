"""One unit of GPU work per task: models loaded once per process, results in stores, a small summary back."""
