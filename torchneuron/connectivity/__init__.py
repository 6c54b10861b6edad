"""Whether Systems Manager reaches instances and, if not, why.

facts       what is known about an instance                         pure
diagnosis   the cause, derived from facts alone                     pure
remedies    AWS CLI commands that check and fix each cause          pure
lookup      looks facts up                                          AWS
agent_role  whether an instance's role lets its SSM agent register  AWS
routes      where a subnet's default route leads                    AWS
subnets     a subnet to launch in that reaches Systems Manager      AWS
online      waits until instances are online                        AWS
"""
