"""A recorded input and its model, as the explaining engine of its modality wants them."""
