"""Pairs of files that show one photograph are searched by their pixels alone."""
