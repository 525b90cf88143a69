"""StyleCLIP in plain torch: networks, checkpoints, directions, metrics. Knows no Prefect and no store."""

from styleclip.bundle import Bundle, load_bundle, read_bundle

__all__ = ["Bundle", "load_bundle", "read_bundle"]
