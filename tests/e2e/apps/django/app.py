"""A shop in Django, with its own migrations; see ../rounds.py.

With APP_BLIND in the environment it does not look into the catalog."""

import datetime
import os
import pathlib
import sys
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import django  # noqa: E402
from django.conf import settings  # noqa: E402

import rounds  # noqa: E402


def configure(url):
    u = urllib.parse.urlsplit(url)
    settings.configure(
        DATABASES={'default': {
            'ENGINE': 'django.db.backends.postgresql', 'HOST': u.hostname,
            'PORT': u.port, 'USER': u.username, 'NAME': u.path[1:]}},
        INSTALLED_APPS=['shop'], USE_TZ=True, TIME_ZONE='UTC',
        DEFAULT_AUTO_FIELD='django.db.models.BigAutoField')
    django.setup()


def setup(url):
    configure(url)
    from django.core.management import call_command
    call_command('migrate', verbosity=0)
    from shop.models import Customer
    Customer.objects.bulk_create(
        [Customer(name=f'customer {n}') for n in range(1, 6)])


def due(n, k=0):
    return (datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc) +
            datetime.timedelta(days=n, hours=k))


def shown(i):
    return (i.pk, i.number, i.customr_id, i.amount, i.phone, i.note, i.paid,
            i.version, i.due.isoformat())


def create(n, r):
    from shop.models import Customer, Inovice, Payment
    customers = list(Customer.objects.order_by('id')[:5])
    first = Inovice.objects.create(
        number=f'{n}-0', customr=customers[n % 5], amount=n,
        phone=f'555-{n % 10000:04}', due=due(n))
    many = Inovice.objects.bulk_create([
        Inovice(number=f'{n}-{k}', customr=customers[k % 5], amount=k * 10,
                phone=None if k % 3 else f'555-{k:04}', due=due(n, k))
        for k in range(1, 8)])
    Inovice.objects.bulk_create(
        [Inovice(number=f'{n}-1', customr=customers[0], amount=1, due=due(n))],
        ignore_conflicts=True)
    Payment.objects.bulk_create(
        [Payment(inovice=i, amount=i.amount // 2) for i in many])
    r.note('created', first.pk, [i.pk for i in many])
    return first, many


def read(n, r):
    from django.db.models import (Avg, Count, Exists, F, Max, OuterRef, Q,
                                  Subquery, Sum)
    from shop.models import Customer, Inovice, Payment
    mine = Inovice.objects.filter(number__startswith=f'{n}-')
    r.note('get', shown(Inovice.objects.get(number=f'{n}-3')))
    r.note('all', [shown(i) for i in mine.order_by('id')])
    r.note('filter', list(mine.filter(
        Q(amount__gt=20) | Q(phone__contains='555-0003'), ~Q(note='x'))
        .order_by('-amount', 'id').values_list('number', 'amount')))
    r.note('phone', list(mine.filter(phone='555-0003').values('number')),
           mine.filter(phone__isnull=True).count(),
           list(mine.filter(amount__in=[10, 20, 70]).order_by('id')
                .values_list('amount', flat=True)))
    r.note('sums', mine.aggregate(
        Sum('amount'), Avg('amount'), Max('due'), n=Count('id')))
    r.note('group', list(mine.values('customr__name').annotate(
        s=Sum('amount'), c=Count('payments')).order_by('customr__name')))
    r.note('having', list(Customer.objects.annotate(
        s=Sum('inovices__amount', filter=Q(inovices__number__startswith=f'{n}-')))
        .filter(s__gt=20).order_by('id').values_list('name', 's')))
    r.note('related', [(i.number, i.customr.name, [
        (p.pk, p.amount) for p in i.payments.order_by('id')])
        for i in mine.select_related('customr').prefetch_related('payments')
        .order_by('id')])
    r.note('exists', mine.filter(Exists(Payment.objects.filter(
        inovice=OuterRef('pk'), amount__gte=30))).count(),
        mine.filter(amount=123456).exists())
    r.note('subquery', list(Customer.objects.annotate(newest=Subquery(
        Inovice.objects.filter(customr=OuterRef('pk')).order_by('-id')
        .values('amount')[:1])).order_by('id').values_list('newest')))
    r.note('page', [i.number for i in mine.order_by('number')[2:5]],
           [i.number for i in mine.order_by('due', 'id').only('number')[:3]],
           [i.number for i in mine.defer('phone', 'amount').order_by('id')])
    r.note('union', sorted(mine.filter(amount__lt=20).values_list('number').union(
        mine.filter(amount__gt=50).values_list('number'))))
    r.note('computed', list(mine.annotate(d=F('amount') * 2 + F('version'))
                            .order_by('id').values_list('d', flat=True)))
    r.note('iterator', [i.number for i in
                        mine.order_by('id').iterator(chunk_size=3)])
    r.note('dates', list(mine.dates('due', 'month')),
           sorted(mine.order_by().values_list('note', flat=True).distinct()),
           list(Payment.objects.filter(inovice__number__startswith=f'{n}-',
                                       inovice__amount__gte=40)
                .order_by('id').values_list('amount', 'inovice__phone')))
    r.note('raw', [(i.pk, i.amount, i.twice) for i in Inovice.objects.raw(
        'SELECT *, amount * 2 AS twice FROM inovices WHERE number LIKE %s'
        ' ORDER BY id', [f'{n}-%'])])


def write(n, r, first, many):
    from django.db import IntegrityError, transaction
    from django.db.models import Case, F, Value, When
    from shop.models import Inovice, Payment
    mine = Inovice.objects.filter(number__startswith=f'{n}-')
    r.note('update', mine.filter(amount__gte=50).update(
        amount=F('amount') + 1, note='raised'),
        mine.filter(pk=first.pk, version=1).update(version=F('version') + 1),
        mine.filter(pk=first.pk, version=1).update(version=F('version') + 1))
    first.refresh_from_db()
    first.amount += 7
    first.phone = '555-7777'
    first.save()
    first.note = 'saved'
    first.save(update_fields=['note'])
    for i in many[:3]:
        i.amount, i.phone = i.amount + 3, f'555-{i.amount:04}'
    Inovice.objects.bulk_update(many[:3], ['amount', 'phone'])
    mine.update(paid=Case(When(amount__gt=30, then=Value(True)),
                          default=Value(False)))
    with transaction.atomic():
        locked = mine.select_for_update(of=('self',)).select_related(
            'customr').order_by('id')[0]
        locked.amount += 1
        locked.save()
        r.note('locked', shown(locked), len(mine.select_for_update(
            skip_locked=True)), len(mine.select_for_update(nowait=True)))
        try:
            with transaction.atomic():
                Inovice.objects.create(number=f'{n}-1', customr_id=1,
                                       amount=0, due=due(n))
        except IntegrityError as e:
            d = e.__cause__.diag
            r.note('unique', d.sqlstate, d.table_name, d.constraint_name)
        try:
            with transaction.atomic():
                mine.filter(number=f'{n}-2').update(amount=-1)
        except IntegrityError as e:
            r.note('check', e.__cause__.diag.sqlstate)
        sid = transaction.savepoint()
        mine.update(note='gone')
        transaction.savepoint_rollback(sid)
    with transaction.atomic():
        mine.filter(number=f'{n}-2').update(note='undone')
        transaction.set_rollback(True)
    got, made = Inovice.objects.get_or_create(
        number=f'{n}-9', defaults={'customr_id': 1, 'amount': 9,
                                   'due': due(n)})
    r.note('get_or_create', shown(got), made, Inovice.objects.get_or_create(
        number=f'{n}-9', defaults={'customr_id': 1})[1])
    got, made = Inovice.objects.update_or_create(
        number=f'{n}-9', defaults={'amount': 19, 'phone': '555-0019'})
    r.note('update_or_create', shown(got), made)
    got.payments.add(Payment(amount=5), bulk=False)
    r.note('in_bulk', sorted(Inovice.objects.in_bulk([first.pk, got.pk])))


def catalog(r):
    from django.db import connection
    with connection.cursor() as cursor:
        c = connection.introspection
        r.note('tables', sorted(t.name for t in c.get_table_list(cursor)
                                if t.name != 'invoices'))
        r.note('columns', [d[:7] for d in c.get_table_description(
            cursor, 'inovices')])
        r.note('key', c.get_primary_key_column(cursor, 'inovices'))


def work_on(url):
    configure(url)
    from shop.models import Inovice

    def work(n, r):
        if 'APP_BLIND' not in os.environ:
            catalog(r)
        first, many = create(n, r)
        read(n, r)
        write(n, r, first, many)
        read(n, r)
        r.note('deleted', many[4].delete(), sorted(Inovice.objects.filter(
            number__startswith=f'{n - 3}-').delete()[1].items()))
        r.note('left', Inovice.objects.count())
    return work


if __name__ == '__main__':
    rounds.main(setup, work_on)
