"""Stores, plans, metrics and image datasets; knows neither torch nor Prefect."""

from storage.datasets import ImageFolder, ImageRef, content_hash, list_images
from storage.directions import DirectionStore
from storage.errors import ImageError, PlanMismatch, StorageError, StoreCorrupt
from storage.growth import Kept, Wanted, keep_plan
from storage.images import decode_image, encode_image
from storage.latents import LatentStore
from storage.metrics import finished_shards, write_shard, write_table
from storage.plan import Generation, PlannedImage, generations_of, load_plan, shard_of
from storage.reading import read_metrics

__all__ = [
    "DirectionStore",
    "Generation",
    "ImageError",
    "ImageFolder",
    "ImageRef",
    "Kept",
    "LatentStore",
    "PlanMismatch",
    "PlannedImage",
    "StorageError",
    "StoreCorrupt",
    "Wanted",
    "content_hash",
    "decode_image",
    "encode_image",
    "finished_shards",
    "generations_of",
    "keep_plan",
    "list_images",
    "load_plan",
    "read_metrics",
    "shard_of",
    "write_shard",
    "write_table",
]
