"""Inspection of a data file before training: its format, records, lengths, problems, and some rows."""

from gnomon.data.inspection.inspect import Inspection as Inspection, inspect as inspect
