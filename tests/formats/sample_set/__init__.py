"""The parts of make_samples.py: one module for each kind of file, and what they share."""
