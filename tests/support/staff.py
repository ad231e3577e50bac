"""People who are logged in to the admin. Without a password: hashing one takes longer than most tests."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User
from django.test import Client


def superuser() -> Client:
    return _logged_in(User.objects.create(username="root", is_staff=True, is_superuser=True))


def staff(*codenames: str) -> Client:
    """Somebody who has these permissions and no other."""
    user = User.objects.create(username="staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return _logged_in(user)


def _logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client
