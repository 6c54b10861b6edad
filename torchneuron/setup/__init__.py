"""The setup runner: a task file becomes a plan for each machine, plans a command document, the document a run.

definition  reads and checks a task file                            pure but for reading it
render      one task -> the script that runs on the machine         pure
plan        what runs and what is skipped, and why; for a fleet     pure
document    a plan -> what SendCommand is asked                     pure
library     what all scripts share on the machine (run-task.sh)     a file
steps       how a step stands, in our words                         pure
commands    SSM Run Command as a run needs it                       AWS
state       what is finished on which machine                       a file
history     the same, found out from SSM                            AWS
watch       follows one command on its machines                     AWS
run         drives plans to their ends                              AWS
failures    what is said of a run that stopped                      AWS, for a step's output
clearing    documents that runs left, deleted                       AWS
logs        what tasks wrote, whole, from the machine               AWS
monitor     what a run tells while it goes on
report      the same for a person: live on a terminal, or lines
events      the same for programs: JSON
"""
