"""A composition and photographs go in, a run comes out."""
