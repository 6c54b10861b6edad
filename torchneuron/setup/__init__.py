"""The setup runner: a task file becomes a plan, the plan a command document, the document a run.

definition  reads and checks a task file                        pure but for reading it
render      one task -> the script that runs on the machine     pure
plan        what runs and what is skipped, and why              pure
document    scripts -> SSM Command documents                    pure
state       what is finished on which machine                   a file
reach       waits for Systems Manager to reach machines     AWS
reach_facts what is seen of one that it does not reach      AWS
agent_role  whether its role lets it in                     AWS
diagnosis   what that means; remedies: what to do about it  pure
run         drives SSM through a plan                           AWS
report      shows a plan and a run                              the terminal
"""
