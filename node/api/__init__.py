"""The admin API over HTTP (``docs/api.md``)."""
