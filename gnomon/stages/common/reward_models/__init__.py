"""Training, combination and calibration of reward models in stages."""
