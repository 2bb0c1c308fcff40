"""Limits that clients share: queues, slots, memory budgets, open files, rejected passwords."""
