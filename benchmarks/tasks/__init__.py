"""Detection, segmentation, retrieval and classification at half the multiply-adds."""
