"""The kinds of augmentation that recipes know by name: one file each."""
