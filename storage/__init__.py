"""Stores, plans, metrics and image datasets; knows neither torch nor Prefect."""

from storage.datasets import ImageFolder, ImageRef, content_hash, list_images
from storage.directions import DirectionStore
from storage.errors import ImageError, PlanMismatch, StorageError, StoreCorrupt
from storage.images import decode_image, encode_image
from storage.latents import LatentStore
from storage.metrics import finished_shards, read_metrics, write_shard, write_table
from storage.plan import PlannedImage, RunPlan, keep_plan, load_plan

__all__ = [
    "DirectionStore",
    "ImageError",
    "ImageFolder",
    "ImageRef",
    "LatentStore",
    "PlanMismatch",
    "PlannedImage",
    "RunPlan",
    "StorageError",
    "StoreCorrupt",
    "content_hash",
    "decode_image",
    "encode_image",
    "finished_shards",
    "keep_plan",
    "list_images",
    "load_plan",
    "read_metrics",
    "write_shard",
    "write_table",
]
