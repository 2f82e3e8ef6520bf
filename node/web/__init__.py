"""The web client: the page as files (``static/``, plain JavaScript modules), and what serves it."""
