"""`invoke doctor`: checks this machine, the settings and the AWS account, with a remedy for each problem.

The checks are independent. `findings`, `programs` and `python` import nothing that has to be installed: a machine
without the project's packages needs them most.
"""
