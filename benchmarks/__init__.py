"""What README claims about speed, measured: `python -m benchmarks`, or `make bench`.

Never from a test: a time is a fact of one machine in one hour, and a test that holds one fails on another. What is
claimed is therefore always a ratio, of two ways to do the same work, and both are measured in the same run.

One module a claim (`synth`, `help_pages`): it says which two ways, and what is claimed. `pairs` times them, `programs`
runs them, `report` tells.
"""
