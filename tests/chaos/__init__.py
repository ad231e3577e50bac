"""``make chaos``: real processes, a steady load, one fault after another, and two ledgers that are compared at the end.

``python -m tests.chaos --minutes N --seed N`` runs it; docs/reliability.md says how to read what it prints.
"""
