"""EC2 Capacity Blocks: found, bought exactly once, and watched until AWS takes the machines back.

`rules` and `countdown` are pure. `offerings`, `purchase` and `reservations` talk to EC2 through clients
that are handed to them; `shown` remembers what a search showed; `show` is all a person gets to read.
"""
