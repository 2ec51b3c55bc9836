from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel('Customer', [
            ('id', models.BigAutoField(primary_key=True)),
            ('name', models.CharField(max_length=40, unique=True)),
        ], options={'db_table': 'customers'}),
        migrations.CreateModel('Inovice', [
            ('id', models.BigAutoField(primary_key=True)),
            ('number', models.CharField(max_length=12, unique=True)),
            ('customr', models.ForeignKey(
                'shop.Customer', models.CASCADE, db_column='customr',
                related_name='inovices')),
            ('amount', models.IntegerField()),
            ('phone', models.TextField(null=True)),
            ('paid', models.BooleanField(default=False)),
            ('version', models.IntegerField(default=1)),
            ('due', models.DateTimeField()),
        ], options={'db_table': 'inovices'}),
        migrations.CreateModel('Payment', [
            ('id', models.BigAutoField(primary_key=True)),
            ('inovice', models.ForeignKey(
                'shop.Inovice', models.CASCADE, related_name='payments')),
            ('amount', models.IntegerField()),
        ], options={'db_table': 'payments'}),
    ]
