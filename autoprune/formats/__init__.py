"""Models in the forms that other programs run, small enough to be measured there too."""
