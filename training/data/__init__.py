"""Where training data comes from: one file a source, with its checksum, licence and split."""
