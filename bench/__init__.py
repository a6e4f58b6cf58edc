"""Benchmarks: this service beside the obvious alternatives, in one run on one machine.

Absolute times mean nothing on another machine, so each figure is a median of interleaved
rounds and is given as a ratio too. Run with `make bench`.
"""
