"""Planning of annotation: power analysis and sample sizes."""
