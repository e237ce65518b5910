"""Quality of training data: filters of records, the cleaning of a file, its report."""
