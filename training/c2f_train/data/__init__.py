"""From clips and data sets to batches: sequences, samples, the store, augmentation."""
