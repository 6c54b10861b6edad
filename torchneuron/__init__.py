"""The library behind the Invoke tasks: all the logic, none of the command line.

Importing this package imports nothing else, so that `invoke --list` answers at once;
each task imports the module it needs when it runs.
"""
