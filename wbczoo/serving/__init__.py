"""Exported models answer callers over HTTP here; PyTorch is never imported."""
