// The real client against units on loopback: spawn, message, result, results, dryrun; with --assign also assign, with --monitor
// also monitor and unmonitor, with --cron what a monitored process' cron sends to another. Prints one JSON line; exits 1 if a call fails.
//   node aoconnect.mjs --cu URL --mu URL --module ID --scheduler ADDRESS [--graphql URL] [--assign] [--monitor] [--cron]
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { parseArgs, require } from './tools.mjs'

const usage = 'node aoconnect.mjs --cu URL --mu URL --module ID --scheduler ADDRESS [--graphql URL] [--assign] [--monitor] [--cron]'
const values = parseArgs({ cu: null, mu: null, module: null, scheduler: null, graphql: '', assign: Boolean, monitor: Boolean, cron: Boolean }, usage)

// Nothing but loopback is ever asked.
const realFetch = globalThis.fetch
globalThis.fetch = (input, init) => {
  const url = new URL(typeof input === 'string' || input instanceof URL ? input : input.url)
  assert.equal(url.hostname, '127.0.0.1', `asked ${url.href}`)
  return realFetch(input, init)
}

const { connect, createDataItemSigner } = require('@permaweb/aoconnect')
const jwk = generateKeyPairSync('rsa', { modulusLength: 4096, publicExponent: 65537 }).privateKey.export({ format: 'jwk' })
const signer = createDataItemSigner(jwk)
const ao = connect({ MODE: 'legacy', CU_URL: values.cu, MU_URL: values.mu, GRAPHQL_URL: values.graphql || `${values.mu}/graphql`, noLog: true })

const process_ = await ao.spawn({ module: values.module, scheduler: values.scheduler, signer, tags: [{ name: 'Name', value: 'aoconnect' }], data: '' })
const message = await ao.message({ process: process_, signer, tags: [{ name: 'Action', value: 'Eval' }], data: 'counter = (counter or 40) + 2; return counter' })
const result = await ao.result({ message, process: process_ })
assert.ok(!result.error && !result.Error, JSON.stringify(result))
for (const list of ['Messages', 'Spawns', 'Assignments']) assert.ok(Array.isArray(result[list]), list)
const results = await ao.results({ process: process_, sort: 'ASC', limit: 25 })
assert.equal(results.edges.length, 2)
const cursor = JSON.parse(atob(results.edges[1].cursor))
assert.deepEqual(Object.keys(cursor), ['timestamp', 'ordinate', 'cron', 'sort'])
const after = await ao.results({ process: process_, from: results.edges[0].cursor, limit: 1 })
assert.equal(after.edges[0].cursor, results.edges[1].cursor)
const owner = await address(jwk)
const dryrun = await ao.dryrun({ process: process_, Owner: owner, data: 'return counter', tags: [{ name: 'Action', value: 'Eval' }] })
assert.ok(!dryrun.error && !dryrun.Error, JSON.stringify(dryrun))
const told = { process: process_, message, result: result.Output, dryrun: dryrun.Output }
if (values.assign) {
  // To another process, which is not given it in any other way.
  const other = await ao.spawn({ module: values.module, scheduler: values.scheduler, signer, tags: [{ name: 'Name', value: 'other' }], data: '' })
  const assignment = await ao.assign({ process: other, message })
  const assigned = await ao.result({ message: assignment, process: other })
  assert.ok(!assigned.error && !assigned.Error, JSON.stringify(assigned))
  Object.assign(told, { other, assignment, assigned: assigned.Output })
}
if (values.monitor) {
  told.monitored = await ao.monitor({ process: process_, signer })
  told.unmonitored = await ao.unmonitor({ process: process_, signer })
}
if (values.cron) {
  // Whom a process believes what others sent: here one wallet delivers and schedules.
  const trusting = [{ name: 'Authority', value: values.scheduler }]
  const receiver = await ao.spawn({ module: values.module, scheduler: values.scheduler, signer, tags: trusting, data: '' })
  const tags = [{ name: 'Cron-Interval', value: '1-second' }, { name: 'Cron-Tag-Action', value: 'Tick' }]
  const cron = await ao.spawn({ module: values.module, scheduler: values.scheduler, signer, tags, data: '' })
  await ao.monitor({ process: cron, signer })
  const run = async (data) => ao.result({ message: await ao.message({ process: cron, signer, tags: [{ name: 'Action', value: 'Eval' }], data }), process: cron })
  await run(`Handlers.add('tick', { Action = 'Tick' }, function (msg) Send({ Target = '${receiver}', Action = 'Ticked', Data = tostring(msg.Timestamp) }) end)`)
  // Ticks are those whose time a message has passed.
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 1500))
    await run('return 1')
  }
  const inbox = "local t = {} for _, m in ipairs(Inbox) do if m.Action == 'Ticked' then table.insert(t, m.Data) end end return table.concat(t, ' ')"
  const arrived = async () => {
    const seen = await ao.dryrun({ process: receiver, Owner: owner, data: inbox, tags: [{ name: 'Action', value: 'Eval' }] })
    return seen.Output.data.split(' ').filter((time) => time)
  }
  const { edges } = await (await fetch(`${values.cu}/cron/${cron}`)).json()
  const sent = edges.flatMap((edge) => edge.node.Messages).length
  const deadline = Date.now() + 60_000
  while ((await arrived()).length < sent && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 500))
  Object.assign(told, { cron, ticked: await arrived() })
  await ao.unmonitor({ process: cron, signer })
}
console.log(JSON.stringify(told))

async function address (jwk) {
  const hash = await crypto.subtle.digest('SHA-256', Buffer.from(jwk.n, 'base64url'))
  return Buffer.from(hash).toString('base64url')
}
