"""`python -m config.embedded.prepare`: brings the database up to date and makes the demo's things. Safe to repeat."""

from __future__ import annotations

import django
from django.core.management import call_command
from django.utils.module_loading import import_string


def main() -> None:
    django.setup()
    call_command("migrate", interactive=False, verbosity=1, no_color=True)
    # By name: the module uses models, which can be imported only now.
    import_string("config.embedded.demo.make")()


if __name__ == "__main__":
    main()
