"""The setup runner: task file, plan for each machine, command documents, run.

options          options of the commands                                 pure
definition       read and check a task file                              file
references       where the values of secret variables are                pure
render           a task as the script for the machine                    pure; bash for its syntax
library          what all scripts share (run-task.sh, secrets.sh)        file
plan             what runs, what is skipped and why                      pure
document         a plan as requests for SendCommand                      pure
steps            statuses, outcomes, and the interface to display them   pure
run_command      SSM Run Command                                         AWS
state            what has finished on which machine                      file, AWS
watch            follow one command on its machines                      AWS
run              attach, send and watch until all has ended              AWS
failures         errors for runs that stopped                            AWS
stale_documents  delete documents that runs left behind                  AWS
secret_values    values for one run, delivered encrypted                 AWS
passwords        the password of code-server                             AWS
logs             whole logs, read from the machine                       AWS
live, report     display a run: tables, lines, JSON events               terminal
task_runs        run a task file, from its text to the summary           AWS
code_server      this project's tasks, with its settings                 AWS
"""
