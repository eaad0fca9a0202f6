"""`afterword erase`: remove a person's feedback for good, and say what is kept until when.

`subject` and `view` are pure; `acts` puts the command together out of `services.erasure`.
"""
