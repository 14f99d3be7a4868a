"""What ``http_storms.py`` does to a service."""
