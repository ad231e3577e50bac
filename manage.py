#!/usr/bin/env python
"""Django's command line: `manage.py help` lists the commands."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if "migrate" in sys.argv[1:2]:
        # Changing a large table takes its time; the server is not gone.
        os.environ.setdefault("NOTIFIER_DATABASE_TIMEOUT_SECONDS", "604800")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"The configuration was refused: {error}")


if __name__ == "__main__":
    main()
