"""Speed is measured here as ratios of things that are done in turn in one run."""
