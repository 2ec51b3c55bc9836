"""A shop in SQLAlchemy, declarative and core; see ../rounds.py.  With
APP_BLIND in the environment it does not look into the catalog."""

import os
import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1])]

import datetime  # noqa: E402

import sqlalchemy as sa  # noqa: E402
from sqlalchemy import func, orm, select  # noqa: E402
from sqlalchemy.dialects.postgresql import insert  # noqa: E402

import rounds  # noqa: E402

Base = orm.declarative_base()


class Customer(Base):
    __tablename__ = 'customers'
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(40), unique=True, nullable=False)
    inovices = orm.relationship('Inovice', back_populates='customer',
                                order_by='Inovice.id')


class Inovice(Base):
    __tablename__ = 'inovices'
    id = sa.Column(sa.Integer, primary_key=True)
    number = sa.Column(sa.String(12), nullable=False)
    customr = sa.Column(sa.ForeignKey('customers.id'), nullable=False)
    amount = sa.Column(sa.Integer, nullable=False)
    phone = sa.Column(sa.Text)
    note = sa.Column(sa.String(10), server_default='none')
    version = sa.Column(sa.Integer, nullable=False)
    due = sa.Column(sa.Date, nullable=False)
    customer = orm.relationship('Customer', back_populates='inovices')
    payments = orm.relationship('Payment', back_populates='inovice',
                                cascade='all, delete-orphan',
                                order_by='Payment.id')
    __table_args__ = (sa.UniqueConstraint('number'),
                      sa.Index('inovices_by_due', 'customr', 'due'))
    __mapper_args__ = {'version_id_col': version, 'eager_defaults': True}


class Payment(Base):
    __tablename__ = 'payments'
    id = sa.Column(sa.Integer, primary_key=True)
    inovice_id = sa.Column(sa.ForeignKey('inovices.id'), nullable=False)
    amount = sa.Column(sa.Integer, nullable=False)
    inovice = orm.relationship('Inovice', back_populates='payments')


def engine_for(url):
    return sa.create_engine(url.replace('postgres:', 'postgresql+psycopg2:'),
                            future=True)


def setup(url):
    engine = engine_for(url)
    Base.metadata.create_all(engine)
    with orm.Session(engine, future=True) as s, s.begin():
        s.add_all(Customer(name=f'customer {n}') for n in range(1, 6))


def shown(i):
    return (i.id, i.number, i.customr, i.amount, i.phone, i.note, i.version,
            str(i.due))


def due(n, k=0):
    return datetime.date(2024, 1, 1) + datetime.timedelta(days=n + k)


def mine(n):
    return Inovice.number.like(f'{n}-%')


def create(s, n, r):
    first = Inovice(number=f'{n}-0', customr=1 + n % 5, amount=n,
                    phone=f'555-{n % 10000:04}', due=due(n))
    s.add(first)
    s.flush()
    r.note('created', shown(first))
    s.add_all(Inovice(number=f'{n}-{k}', customr=1 + k % 5, amount=k * 10,
                      phone=None if k % 3 else f'555-{k:04}', due=due(n, k),
                      payments=[Payment(amount=k), Payment(amount=k * 2)])
              for k in range(1, 6))
    s.flush()
    s.execute(sa.insert(Inovice), [
        dict(number=f'{n}-{k}', customr=1, amount=k, version=1, due=due(n, k))
        for k in range(6, 9)])
    s.bulk_insert_mappings(Inovice, [
        dict(number=f'{n}-a', customr=2, amount=1, version=1, due=due(n))])
    upsert = insert(Inovice).values([
        dict(number=f'{n}-{k}', customr=3, amount=100 + k, phone='555-1234',
             version=1, due=due(n)) for k in (8, 9)])
    r.note('upsert', s.execute(upsert.on_conflict_do_update(
        index_elements=['number'], set_=dict(
            amount=upsert.excluded.amount + Inovice.amount,
            phone=upsert.excluded.phone, version=Inovice.version + 1),
        where=Inovice.amount < 1000)
        .returning(Inovice.id, Inovice.number, Inovice.amount)).all())
    r.note('nothing', s.execute(upsert.on_conflict_do_nothing()
                                .returning(Inovice.id)).all())
    return first


def read(s, n, r):
    s.expire_all()
    r.note('get', shown(s.execute(select(Inovice).where(
        Inovice.number == f'{n}-3')).scalar_one()))
    r.note('all', [shown(i) for i in s.scalars(
        select(Inovice).where(mine(n)).order_by(Inovice.id))])
    r.note('joined', [(i.number, i.customer.name, [p.amount for p in i.payments])
                      for i in s.scalars(select(Inovice).where(mine(n)).options(
                          orm.joinedload(Inovice.customer),
                          orm.joinedload(Inovice.payments))
                          .order_by(Inovice.id)).unique()])
    s.expire_all()
    r.note('selectin', [(c.name, len(c.inovices), sum(
        len(i.payments) for i in c.inovices)) for c in s.scalars(
            select(Customer).options(orm.selectinload(
                Customer.inovices).selectinload(Inovice.payments))
            .order_by(Customer.id))])
    r.note('group', s.execute(select(
        Customer.name, func.sum(Inovice.amount), func.count(Inovice.phone))
        .join(Inovice.customer).where(mine(n)).group_by(Customer.name)
        .having(func.sum(Inovice.amount) > 0).order_by(Customer.name)).all())
    r.note('window', s.execute(select(
        Inovice.number, func.sum(Inovice.amount).over(order_by=Inovice.id),
        func.rank().over(partition_by=Inovice.customr,
                         order_by=Inovice.amount.desc()))
        .where(mine(n)).order_by(Inovice.id)).all())
    inner = select(Inovice.customr, func.max(Inovice.amount).label('top')) \
        .where(mine(n)).group_by(Inovice.customr).cte('tops')
    r.note('cte', s.execute(select(Customer.name, inner.c.top).join(
        inner, inner.c.customr == Customer.id).order_by(Customer.id)).all())
    other = orm.aliased(Inovice)
    r.note('self', s.execute(select(Inovice.number, other.number).join(
        other, sa.and_(other.customr == Inovice.customr,
                       other.id > Inovice.id)).where(mine(n), other.number.like(
                           f'{n}-%')).order_by(Inovice.id, other.id)).all())
    r.note('exists', s.execute(select(func.count()).select_from(Inovice).where(
        mine(n), Inovice.payments.any(Payment.amount > 5))).scalar(),
        s.execute(select(Inovice.phone).where(
            mine(n), Inovice.phone.in_(['555-0003', '555-1234']))
            .order_by(Inovice.phone)).all())
    r.note('page', s.scalars(select(Inovice.number).where(mine(n)).order_by(
        Inovice.due.desc(), Inovice.id).limit(3).offset(2)).all(),
        [shown(i) for i in s.scalars(select(Inovice).where(mine(n)).options(
            orm.load_only(Inovice.number)).order_by(Inovice.id).limit(2))])
    r.note('lateral', s.execute(sa.text(
        'SELECT c.id, l.amount FROM customers c, LATERAL (SELECT amount FROM'
        ' inovices i WHERE i.customr = c.id ORDER BY i.id DESC LIMIT 1) l'
        ' WHERE c.id < :n ORDER BY c.id'), dict(n=5)).all())
    r.note('stream', [row.number for row in s.execute(
        select(Inovice.number).where(mine(n)).order_by(Inovice.id)
        .execution_options(stream_results=True, yield_per=4))])


def write(s, n, r, first):
    with s.begin_nested():
        first.amount += 5
        first.phone = '555-9999'
    for i in s.scalars(select(Inovice).where(mine(n), Inovice.amount > 30)
                       .order_by(Inovice.id).with_for_update(
                           of=Inovice, key_share=True)):
        i.amount = i.amount * 2
        i.payments.append(Payment(amount=1))
    s.flush()
    r.note('update', sorted(s.execute(sa.update(Inovice).where(
        mine(n), Inovice.amount < 20).values(
            amount=Inovice.amount + 1, note='small').returning(
                Inovice.id, Inovice.amount, Inovice.note)
        .execution_options(synchronize_session=False)).all()))
    r.note('from', s.execute(sa.update(Inovice).where(
        mine(n), Inovice.customr == Customer.id,
        Customer.name == 'customer 2').values(note=func.upper(Customer.name))
        .execution_options(synchronize_session=False)).rowcount)
    for what, change in (
            ('unique', dict(number=f'{n}-1')), ('null', dict(amount=None)),
            ('long', dict(note='far too long')), ('key', dict(customr=77))):
        try:
            with s.begin_nested():
                s.execute(sa.update(Inovice).where(
                    Inovice.number == f'{n}-2').values(**change)
                    .execution_options(synchronize_session=False))
        except sa.exc.DBAPIError as e:
            d = e.orig.diag
            r.note(what, d.sqlstate, d.table_name)
    r.note('locked', s.scalars(select(Inovice.id).where(mine(n)).order_by(
        Inovice.id).with_for_update(skip_locked=True, read=True)).all())


def stale(engine, n, r):
    """Two sessions change one row: the second's version is too old."""
    at = select(Inovice).where(Inovice.number == f'{n}-4')
    with orm.Session(engine, future=True) as a, \
            orm.Session(engine, future=True) as b:
        mine, theirs = a.execute(at).scalar_one(), b.execute(at).scalar_one()
        mine.amount += 1
        a.commit()
        theirs.amount += 1
        try:
            b.commit()
        except orm.exc.StaleDataError:
            b.rollback()
            r.note('stale', shown(a.execute(at).scalar_one()))


def catalog(engine, r):
    look = sa.inspect(engine)
    r.note('tables', sorted(t for t in look.get_table_names()
                            if t != 'invoices'))
    r.note('columns', [(c['name'], str(c['type']), c['nullable'])
                       for c in look.get_columns('inovices')],
           look.get_pk_constraint('inovices')['constrained_columns'])
    table = sa.Table('inovices', sa.MetaData(), autoload_with=engine,
                     resolve_fks=False)
    r.note('reflected', [c.name for c in table.primary_key],
           look.has_table('inovices'))
    with engine.connect() as c:
        r.note('rows', c.execute(select(table.c.number, table.c.amount)
                                 .order_by(table.c.id).limit(3)).all())


def work_on(url):
    engine = engine_for(url)

    def work(n, r):
        if 'APP_BLIND' not in os.environ:
            catalog(engine, r)
        with orm.Session(engine, future=True) as s, s.begin():
            first = create(s, n, r)
            read(s, n, r)
        with orm.Session(engine, future=True) as s, s.begin():
            write(s, n, r, s.merge(first))
            read(s, n, r)
        stale(engine, n, r)
        with orm.Session(engine, future=True) as s, s.begin():
            for i in s.scalars(select(Inovice).where(mine(n - 3))):
                s.delete(i)
            s.flush()
            r.note('deleted', s.execute(sa.delete(Inovice).where(
                Inovice.number == f'{n}-a').returning(Inovice.id)
                .execution_options(synchronize_session=False)).all())
            r.note('left', s.execute(
                select(func.count(Inovice.id))).scalar())
    return work


if __name__ == '__main__':
    rounds.main(setup, work_on)
