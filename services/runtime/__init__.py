"""What any process needs, whatever it does: settings, clients, logs, metrics, health.

A closed list of files, and no word of feedback in any of them.
"""
