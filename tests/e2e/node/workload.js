// The shop as a node application knows it: node-postgres, a pool, named and
// unnamed statements; prints what it saw as JSON lines, one per round.
'use strict'
const { Pool } = require('pg')

const pool = new Pool({ connectionString: process.argv[2], max: 4 })
let rounds = 0
let stopping = false

async function round(n) {
  const inserted = await pool.query(
    'INSERT INTO inovices (customr, amount, phone) VALUES ($1, $2, $3) RETURNING id, amount, phone',
    ['node ' + n, n, '555-1234'])
  const id = inserted.rows[0].id
  const updated = await pool.query({
    name: 'raise', text: 'UPDATE inovices SET amount = amount + $1 WHERE id = $2', values: [5, id] })
  const read = await pool.query({
    name: 'read', text: 'SELECT id, customr, amount, phone FROM inovices WHERE id = $1', values: [id] })
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    await client.query('DELETE FROM inovices WHERE id = $1', [id])
    const gone = await client.query('SELECT count(*)::int AS n FROM inovices WHERE id = $1', [id])
    await client.query(n % 2 ? 'COMMIT' : 'ROLLBACK')
    const after = await client.query('DELETE FROM inovices WHERE id = ' + id)
    return {
      inserted: [inserted.rows[0].amount, inserted.rows[0].phone, inserted.command, inserted.rowCount],
      fields: read.fields.map(f => [f.name, f.dataTypeID, f.dataTypeModifier]),
      updated: [updated.command, updated.rowCount, updated.rows.length],
      read: [read.rows[0].customr, read.rows[0].amount, read.rows[0].phone],
      gone: gone.rows[0].n,
      after: after.rowCount
    }
  } finally {
    client.release()
  }
}

async function main() {
  process.stdin.on('end', () => { stopping = true }).resume()
  while (!stopping) {
    console.log(JSON.stringify(await round(++rounds)))
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  await pool.end()
}

main().catch(e => { console.log(JSON.stringify({ error: e.message, code: e.code })); process.exit(1) })
