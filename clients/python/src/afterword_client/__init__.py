"""Sends feedback on LLM answers to Afterword from a background thread, and never blocks or breaks the app.

`feedback.py` has the client: its calls, its queue, its thread.  `delivery.py` sends one batch over HTTP.
"""

from afterword_client.delivery import __version__
from afterword_client.feedback import Feedback, NotQueuedError

__all__ = ["Feedback", "NotQueuedError", "__version__"]
