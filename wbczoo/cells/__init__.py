"""White cells are found in an image, measured and cropped; numpy and Pillow alone."""
