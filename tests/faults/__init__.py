"""What happens when anything fails at any moment, tried out at random: `make check-faults`; in short in `make test`.

One module a part. Each plays runs with the commands a user types, counts what was done to them and what came of it
(`tally`), and looks for what must never be. A run's chances come from the seed, the part and its number alone, so one
that went wrong can be played again by itself.
"""
