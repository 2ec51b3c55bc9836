// A shop in Sequelize, with its own migrations; see ../rounds.py.  With
// APP_BLIND in the environment it does not look into the catalog.

const crypto = require('crypto');
const { DataTypes, Op, Sequelize, Transaction, col, fn, literal } =
    require('sequelize');

const [, , what, url, first, count] = process.argv;
const sequelize = new Sequelize(url, { logging: false, pool: { max: 2 } });

const Customer = sequelize.define('Customer', {
    name: { type: DataTypes.STRING(40), allowNull: false },
}, { tableName: 'customers', timestamps: false });
const Inovice = sequelize.define('Inovice', {
    number: { type: DataTypes.STRING(12), allowNull: false, unique: true },
    customr: { type: DataTypes.INTEGER, allowNull: false },
    amount: { type: DataTypes.INTEGER, allowNull: false },
    phone: DataTypes.TEXT,
    note: { type: DataTypes.STRING(10), defaultValue: 'none' },
    due: { type: DataTypes.DATEONLY, allowNull: false },
}, { tableName: 'inovices', timestamps: false, version: true });
const Payment = sequelize.define('Payment', {
    amount: { type: DataTypes.INTEGER, allowNull: false },
}, { tableName: 'payments', timestamps: false });
Inovice.belongsTo(Customer, { foreignKey: 'customr', as: 'customer' });
Customer.hasMany(Inovice, { foreignKey: 'customr', as: 'inovices' });
Inovice.hasMany(Payment, { foreignKey: 'inoviceId', as: 'payments' });
Payment.belongsTo(Inovice, { foreignKey: 'inoviceId', as: 'inovice' });

const key = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
const migrations = [
    (q) => q.createTable('customers', {
        id: key, name: { type: DataTypes.STRING(40), allowNull: false },
    }),
    (q) => q.createTable('inovices', {
        id: key,
        number: { type: DataTypes.STRING(12), allowNull: false, unique: true },
        customr: { type: DataTypes.INTEGER, allowNull: false,
            references: { model: 'customers', key: 'id' } },
        amount: { type: DataTypes.INTEGER, allowNull: false },
        phone: DataTypes.TEXT,
        due: { type: DataTypes.DATEONLY, allowNull: false },
        version: { type: DataTypes.INTEGER, allowNull: false,
            defaultValue: 0 },
    }),
    (q) => q.createTable('payments', {
        id: key,
        inoviceId: { type: DataTypes.INTEGER, allowNull: false,
            references: { model: 'inovices', key: 'id' },
            onDelete: 'CASCADE', onUpdate: 'CASCADE' },
        amount: { type: DataTypes.INTEGER, allowNull: false },
    }),
    (q) => q.addColumn('inovices', 'note',
        { type: DataTypes.STRING(10), defaultValue: 'none' }),
    (q) => q.addIndex('inovices', ['customr', 'due']),
    (q) => q.addConstraint('inovices', { type: 'check', fields: ['amount'],
        where: { amount: { [Op.gte]: 0 } } }),
];

async function setup() {
    for (const up of migrations)
        await up(sequelize.getQueryInterface());
    await Customer.bulkCreate([1, 2, 3, 4, 5].map(
        (n) => ({ name: `customer ${n}` })));
}

const plain = (x) => JSON.parse(JSON.stringify(x));
const due = (n, k) => new Date(Date.UTC(2024, 0, 1 + n + k))
    .toISOString().slice(0, 10);
const mine = (n) => ({ number: { [Op.like]: `${n}-%` } });

async function create(n, note) {
    const one = await Inovice.create({ number: `${n}-0`, customr: 1 + n % 5,
        amount: n, phone: `555-${String(n % 10000).padStart(4, '0')}`,
        due: due(n, 0) });
    note('created', one.get());
    const many = await Inovice.bulkCreate([1, 2, 3, 4, 5].map((k) => ({
        number: `${n}-${k}`, customr: k, amount: k * 10, due: due(n, k),
        payments: [{ amount: k }, { amount: k * 2 }],
    })), { include: [{ model: Payment, as: 'payments' }] });
    note('many', many.map((i) => [i.id, i.payments.map((p) => p.id)]));
    note('update', (await Inovice.bulkCreate([5, 6].map((k) => ({
        number: `${n}-${k}`, customr: 2, amount: 100 + k, phone: '555-1234',
        due: due(n, k),
    })), { updateOnDuplicate: ['amount', 'phone'],
        conflictAttributes: ['number'] })).map((i) => i.id));
    note('ignore', (await Inovice.bulkCreate([{ number: `${n}-6`, customr: 2,
        amount: 1, due: due(n, 6) }], { ignoreDuplicates: true })).length);
    const [row] = await Inovice.upsert({ number: `${n}-6`, customr: 3,
        amount: 66, due: due(n, 6) }, { conflictFields: ['number'] });
    note('upsert', row.get());
    return one;
}

async function read(n, note) {
    note('all', plain(await Inovice.findAll({ where: mine(n),
        order: ['id'] })));
    note('one', plain(await Inovice.findOne({ where: { number: `${n}-3` },
        include: ['customer', 'payments'],
        order: [['payments', 'id', 'ASC']] })));
    note('where', plain(await Inovice.findAll({ attributes: ['id', 'amount'],
        where: { ...mine(n), [Op.or]: [{ amount: [10, 20, 105] },
            { phone: '555-1234' }, { note: { [Op.iLike]: 'RAIS%' } }] },
        order: [['amount', 'DESC'], 'id'] })));
    note('page', plain(await Inovice.findAndCountAll({ where: mine(n),
        limit: 3, offset: 2, order: ['due', 'id'],
        include: [{ model: Payment, as: 'payments' }] })).rows.map(
        (i) => [i.id, i.payments.length]));
    note('group', plain(await Inovice.findAll({ where: mine(n),
        attributes: ['customr', [fn('SUM', col('amount')), 's'],
            [fn('COUNT', col('phone')), 'c']], group: ['customr'],
        having: literal('SUM(amount) > 5'), order: ['customr'] })),
    await Inovice.sum('amount', { where: mine(n) }),
    await Inovice.max('due', { where: mine(n) }),
    await Inovice.count({ where: { ...mine(n), phone: null } }));
    note('related', plain(await Customer.findAll({ order: ['id',
        ['inovices', 'id', 'ASC']], include: [{ association: 'inovices',
        required: false, where: mine(n), attributes: ['number', 'amount'] }],
    })));
    note('raw', await sequelize.query('SELECT i.number, p.amount FROM inovices'
        + ' i JOIN payments p ON p."inoviceId" = i.id WHERE i.number LIKE $1'
        + ' ORDER BY p.id', { bind: [`${n}-%`], type: 'SELECT' }));
}

async function failed(transaction, name, note, act) {
    try {
        await sequelize.transaction({ transaction }, act);
    } catch (e) {
        note(name, e.name, e.original && e.original.code,
            e.fields && Object.keys(e.fields));
    }
}

async function write(n, note, one) {
    const stale = await Inovice.findByPk(one.id);
    await one.update({ amount: one.amount + 5, phone: '555-7777' });
    try {
        await stale.update({ note: 'stale' });
    } catch (e) {
        note('stale', e.name);
    }
    await one.increment('amount', { by: 3 });
    note('reloaded', (await one.reload()).get());
    note('changed', plain(await Inovice.update({
        amount: literal('amount + 1'), note: 'raised',
    }, { where: { ...mine(n), amount: { [Op.gt]: 20 } }, returning: true }))
        .flat().slice(1).map((i) => [i.id, i.amount]).sort());
    await sequelize.transaction(async (t) => {
        const locked = await Inovice.findAll({ where: mine(n), order: ['id'],
            lock: t.LOCK.UPDATE, skipLocked: true, transaction: t });
        note('locked', locked.map((i) => i.id));
        locked[1].amount *= 2;
        await locked[1].save({ transaction: t });
        await locked[1].createPayment({ amount: 9 }, { transaction: t });
        const change = (values) => (transaction) => Inovice.update(values, {
            where: { number: `${n}-2` }, transaction });
        await failed(t, 'unique', note, change({ number: `${n}-1` }));
        await failed(t, 'check', note, change({ amount: -1 }));
        await failed(t, 'key', note, change({ customr: 77 }));
        await failed(t, 'long', note, change({ note: 'far too long' }));
    });
    const t = await sequelize.transaction({ isolationLevel:
        Transaction.ISOLATION_LEVELS.REPEATABLE_READ });
    await Inovice.update({ note: 'undone' }, { where: mine(n),
        transaction: t });
    await t.rollback();
    note('found', (await Inovice.findCreateFind({ where: { number: `${n}-9` },
        defaults: { customr: 1, amount: 9, due: due(n, 9) } }))
        .map((x) => (x.get ? x.get() : x)));
}

async function catalog(note) {
    const q = sequelize.getQueryInterface();
    const columns = await q.describeTable('inovices');
    for (const name of Object.keys(columns))
        note('column', name, columns[name]);
    note('indexes', (await q.showIndex('inovices')).map(
        (i) => [i.primary, i.unique, i.fields.map((f) => f.attribute)]));
    note('tables', (await q.showAllTables()).filter(
        (t) => t !== 'invoices').sort());
}

async function round(n) {
    const reads = [];
    const note = (...values) => reads.push(
        values.map((v) => JSON.stringify(v)).join(' '));
    if (!process.env.APP_BLIND)
        await catalog(note);
    const one = await create(n, note);
    await read(n, note);
    await write(n, note, one);
    await read(n, note);
    const old = await Inovice.findOne({ where: { number: `${n - 3}-1` } });
    if (old)
        await old.destroy();
    note('deleted', await Inovice.destroy({ where: mine(n - 3) }),
        await Inovice.count(), await Payment.count());
    for (const line of reads)
        process.stderr.write(`${n}\t${line}\n`);
    console.log(n, crypto.createHash('sha256').update(reads.join('\n'))
        .digest('hex').slice(0, 16));
}

async function work() {
    let stopped = false;
    process.stdin.on('data', () => { stopped = true; });
    process.stdin.on('end', () => { stopped = true; });
    const open = count === '-';
    for (let n = Number(first);
        open ? !stopped : n < Number(first) + Number(count); n++) {
        await round(n);
        if (open)
            await new Promise((done) => { setTimeout(done, 500); });
    }
    console.log('done');
}

(what === 'setup' ? setup() : work()).then(async () => {
    await sequelize.close();
    process.stdin.destroy();
}).catch((e) => {
    console.error(e);
    process.exit(1);
});
