"""Scenarios on the running lab (`make up`): what an operator or a user would see, on real hosts."""
