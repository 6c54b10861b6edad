"""What this machine and this account lack for the commands, each with its remedy: `invoke doctor`.

Every check stands alone and says what it found whatever the others found. Those of this machine import nothing that
has to be installed: a machine without the project's packages is one that needs them most.
"""
