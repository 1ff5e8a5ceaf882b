"""Several trainings that belong together: the folds of one protocol, and later whole grids."""
