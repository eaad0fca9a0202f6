"""`afterword erase`: delete a person's feedback for good, and certify what is kept until when.

`run.py` is the face; `core/subject.py` parses whose feedback it is, and describes the dry run.  The erasure
itself is `services.erasure`, which a running sink completes after an interruption.
"""
