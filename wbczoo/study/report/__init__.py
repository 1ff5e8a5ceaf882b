"""The results of a study become tables, verdicts and pages."""
