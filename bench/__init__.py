"""Benchmarks: this service beside the obvious alternatives, in one run on one machine.

Absolute times mean nothing on another machine, so each figure is a median of interleaved
rounds and is given as a ratio too. `make bench` runs all parts (`bench.parts`), and
`python -m bench a --quick` one of them for a short look. Everything happens on 127.0.0.1.

To add a contender: one function in `bench.contenders`. To add a part: one module in
`bench.parts` with `measure`, and one line in its `PARTS`.
"""
