from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('shop', '0001_initial')]
    operations = [
        migrations.AddField('Inovice', 'note', models.CharField(
            max_length=10, default='none')),
        migrations.AddIndex('Inovice', models.Index(
            fields=['customr', 'due'], name='inovices_customr_due')),
        migrations.AddConstraint('Inovice', models.CheckConstraint(
            check=models.Q(amount__gte=0), name='inovices_amount_check')),
    ]
