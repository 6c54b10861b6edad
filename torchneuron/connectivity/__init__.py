"""Whether Systems Manager reaches instances, and what those lack that it does not.

facts       what can be seen of an instance                       pure
gather      sees it                                               AWS
subnets     the subnet to launch in, and its way out          AWS
routes      where a subnet leads                              AWS
agent_role  whether its role lets an agent in                     AWS
diagnosis   the reason, decided from facts by them alone          pure
remedies    the commands that show and mend each                  pure
online      waits until all are reached                           AWS
"""
