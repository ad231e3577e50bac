from django.db import migrations

CODENAMES = {
    'view_partnersecret': 'Can view partner secret',
    'add_partnersecret': 'Can add partner secret',
    'delete_partnersecret': 'Can delete partner secret',
}


def add(apps, schema_editor):
    """Secrets are the administrators'. Permissions are made by post_migrate, which is later, so what is not there is made here."""
    content_type, _ = apps.get_model('contenttypes', 'ContentType').objects.get_or_create(
        app_label='notifier', model='partnersecret'
    )
    group = apps.get_model('auth', 'Group').objects.filter(name='administrator').first()
    for codename, name in CODENAMES.items():
        permission, _ = apps.get_model('auth', 'Permission').objects.get_or_create(
            content_type=content_type, codename=codename, defaults={'name': name}
        )
        if group is not None:
            group.permissions.add(permission)


class Migration(migrations.Migration):

    dependencies = [
        ('notifier', '0007_observe'),
    ]

    operations = [
        migrations.RunPython(add, migrations.RunPython.noop),
    ]
