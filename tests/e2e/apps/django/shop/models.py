from django.db import models


class Customer(models.Model):
    name = models.CharField(max_length=40, unique=True)

    class Meta:
        db_table = 'customers'


class Inovice(models.Model):
    number = models.CharField(max_length=12, unique=True)
    customr = models.ForeignKey(Customer, models.CASCADE, db_column='customr',
                                related_name='inovices')
    amount = models.IntegerField()
    phone = models.TextField(null=True)
    note = models.CharField(max_length=10, default='none')
    paid = models.BooleanField(default=False)
    version = models.IntegerField(default=1)
    due = models.DateTimeField()

    class Meta:
        db_table = 'inovices'
        indexes = [models.Index(fields=['customr', 'due'],
                                name='inovices_customr_due')]
        constraints = [models.CheckConstraint(
            check=models.Q(amount__gte=0), name='inovices_amount_check')]


class Payment(models.Model):
    inovice = models.ForeignKey(Inovice, models.CASCADE,
                                related_name='payments')
    amount = models.IntegerField()

    class Meta:
        db_table = 'payments'
