"""A person checks what a model proposes, cell by cell, and signs the differential that results."""
