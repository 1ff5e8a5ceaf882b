"""An export is adapted to the labelled cells of one's own laboratory; PyTorch is never imported."""
