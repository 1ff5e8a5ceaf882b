"""Answers about one slide's cells become shares with intervals."""
