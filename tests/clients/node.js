// node-postgres: the driver of Metabase's sibling tools and of Grafana's plugins in Node.
const { Client } = require('pg');
const assert = require('assert');

(async () => {
  const client = new Client({
    host: '127.0.0.1',
    port: Number(process.env.PG_PORT),
    user: 'ana',
    password: process.env.PASSWORD,
    database: 'kolumn',
    statement_timeout: 10000,
    application_name: 'node',
  });
  await client.connect();
  const counted = await client.query('SELECT count(*)::int AS n FROM audit WHERE name = $1', ['a']);
  assert.deepStrictEqual(counted.rows, [{ n: 1 }]);
  const named = { name: 'kept', text: 'SELECT name, user_groups FROM audit WHERE response_code = $1 ORDER BY 1' };
  for (let round = 0; round < 3; round++) {
    const rows = (await client.query({ ...named, values: [201] })).rows;
    assert.strictEqual(rows.length, 4);
    assert.deepStrictEqual(rows[0], { name: 'a', user_groups: ['g1', 'g2'] });
  }
  const time = await client.query('SELECT stage_timestamp AS t FROM audit LIMIT 1');
  assert.strictEqual(time.rows[0].t.toISOString(), '2026-11-19T10:00:00.123Z');
  await assert.rejects(client.query('DROP TABLE audit'), { code: '25006' });
  await client.end();
  console.log('done');
})().catch((e) => {
  console.error(e);
  process.exit(1);
});
