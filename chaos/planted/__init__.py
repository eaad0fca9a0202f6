"""Services with a bug planted on purpose, to show that the judge finds it.

Each module is an entry point like the service's own: it replaces one class by a worse one, and runs the real
service.  What happens once, at the worst moment, is set by a variable that no service knows: `PLANTED_ONCE`
names a file, and the process that creates it misbehaves.
"""
