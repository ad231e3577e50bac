"""The textbook recipe that ours is compared with: Django, DRF and Celery as their own documentation shows them.

A row for each notification, a Celery message for each row, a task that sends it with ``requests`` and writes down how it
went. Written in good faith: where its documentation offers something that makes it faster and costs no safety, it is here.
"""
