"""What several kinds of stages share: references, models, loops, estimates, judges."""
