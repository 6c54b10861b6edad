"""Fault injection at random moments: `make check-faults`; a short form runs in `make test`.

Each test module is a part. It repeats user commands under injected faults, counts the faults and the outcomes
(`tally`), and checks for violations, such as a block bought twice. The random numbers of a run depend only on the seed,
the part and the run's number, so that a failed run can be repeated alone.
"""
