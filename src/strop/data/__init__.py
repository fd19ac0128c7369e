"""Rows in: readers, shapes, samples with loss masks, packing, order, and the pre-flight that training must pass."""

from strop.data.findings import Preflight, Share
from strop.data.fragmentation import fragmented_terms
from strop.data.ledger import LedgerEntry, write_ledger
from strop.data.mixture import Mixture
from strop.data.order import batches_from, epoch_order, steps_per_epoch
from strop.data.packing import efficiency, pack, pieces
from strop.data.preflight import preflight
from strop.data.reading import (
    dataset_digest,
    read_conversations,
    read_documents,
    read_preferences,
    read_tasks,
    shape_of,
)
from strop.data.samples import conversation_sample, document_samples, preference_samples
from strop.data.shapes import SHAPES, Shape
from strop.data.view import View, packing_lines, view_conversation, view_preference, view_rollout, view_sample

__all__ = [
    "SHAPES",
    "LedgerEntry",
    "Mixture",
    "Preflight",
    "Shape",
    "Share",
    "View",
    "batches_from",
    "conversation_sample",
    "dataset_digest",
    "document_samples",
    "efficiency",
    "epoch_order",
    "fragmented_terms",
    "pack",
    "packing_lines",
    "pieces",
    "preference_samples",
    "preflight",
    "read_conversations",
    "read_documents",
    "read_preferences",
    "read_tasks",
    "shape_of",
    "steps_per_epoch",
    "view_conversation",
    "view_preference",
    "view_rollout",
    "view_sample",
    "write_ledger",
]
