// Prints the parity corpus of one module: a JSON line {name, msg, env} per step, the same bytes at every run.
// A name ends in `!` where the answer is meant to be an `Error`, and in `~` where that depends on the module's version.
import { createHash } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import { MODULES, parseArgs } from './tools.mjs'
import * as lua from './corpus-lua.mjs'

const sha256 = (text) => createHash('sha256').update(text).digest()
const id = (label) => sha256('aorta corpus/' + label).toString('base64url')
const tagsOf = (object) => Object.entries(object).map(([name, value]) => ({ name, value }))

/** Numbers below n, from SHA-256 in counter mode. */
function generator (label) {
  let drawn = 0
  return (n) => sha256(`aorta corpus/${label}/${drawn++}`).readUInt32LE(0) % n
}

const OWNER = id('owner')
const shown = (programs) => programs.map(([name, source]) => [name, `return Show((function() ${source} end)())`])
const evals = (programs) => programs.map(([name, data]) => ({ name: 'eval.' + name, tags: { Action: 'Eval' }, data }))

/** What others send, and handlers that answer them. */
function conversations (random) {
  const text = Array.from({ length: 4096 }, () => String.fromCharCode(97 + random(26))).join('')
  const one = (name, source) => evals([[name, source]])[0]
  const show = (name, source) => evals(shown([[name, source]]))[0]
  return [
    { name: 'inbox.stranger', from: 'stranger', tags: { Action: 'Greet' }, data: 'hello from a stranger' },
    { name: 'inbox.eval.refused', from: 'stranger', tags: { Action: 'Eval' }, data: 'Counter = -1' },
    { name: 'inbox.empty', from: 'stranger', tags: {}, data: '' },
    { name: 'inbox.null.data', from: 'stranger', tags: { Action: 'Null' }, data: null },
    { name: 'inbox.unicode', from: 'stranger', tags: { Action: 'Größe', 'Ключ': '値 🌊' }, data: '\u2028 \u0000 \u007f 日本語 "\\' },
    { name: 'inbox.forwarded', from: 'unit', forwardedBy: 'process', tags: { Action: 'Notice', 'From-Process': id('process'), 'Pushed-For': id('origin'), Reference: '17' }, data: 'from another process' },
    { name: 'inbox.odd.tags', from: 'stranger', list: [['X', '1'], ['X', '2'], ['x', '3'], ['Target', 'fake'], ['Data', 'fake'], ['__index', 'y'], ['1', 'one'], ['', 'empty name']], data: '{}' },
    { name: 'inbox.megabyte~', from: 'stranger', tags: { Action: 'Big' }, data: text.repeat(256) },
    show('inbox.megabyte.length', 'return #Inbox, #Inbox[#Inbox].Data'),
    one('inbox.release', 'Inbox[#Inbox] = nil collectgarbage() return #Inbox'),
    one('inbox.fields', "local t = {} for k, v in pairs(Inbox[#Inbox]) do t[#t + 1] = k .. ':' .. type(v) end table.sort(t) return table.concat(t, ' ')"),
    { name: 'inbox.kilobytes', from: 'stranger', tags: { Action: 'Big' }, data: text.repeat(5) },
    { name: 'inbox.more.kilobytes~', from: 'stranger', tags: { Action: 'Big' }, data: text.repeat(50) },
    { name: 'eval.data.megabyte~', tags: { Action: 'Eval' }, data: `local s = '${text.repeat(256)}' return #s .. s:sub(-8)` },
    { name: 'info', from: 'stranger', tags: { Action: 'Info' }, data: '' },
    { name: 'owner.no.action', tags: {}, data: 'return 1' },
    one('handlers.tag', "Handlers.add('ping', Handlers.utils.hasMatchingTag('Action', 'Ping'), function (msg) Pings = (Pings or 0) + 1 ao.send({ Target = msg.From, Action = 'Pong', Data = tostring(Pings) }) end)"),
    { name: 'handlers.ping', from: 'stranger', tags: { Action: 'Ping' }, data: '' },
    { name: 'handlers.ping.forwarded', from: 'unit', forwardedBy: 'process', tags: { Action: 'Ping', 'From-Process': id('process') }, data: '' },
    one('handlers.pattern~', "Handlers.add('pattern', { Action = 'Match', Quantity = '%d+', Memo = '_' }, function (msg) print('matched ' .. msg.Tags.Quantity) end) return #Handlers.list"),
    { name: 'handlers.pattern.hit', from: 'stranger', tags: { Action: 'Match', Quantity: '123', Memo: 'any' }, data: '' },
    { name: 'handlers.pattern.miss', from: 'stranger', tags: { Action: 'Match', Quantity: 'none' }, data: '' },
    one('handlers.function', "Handlers.add('function', function (msg) return msg.Data == 'continue' and 'continue' or (msg.Data == 'stop' and 1 or 0) end, function (msg) Seen = (Seen or 0) + 1 end)"),
    { name: 'handlers.continue', from: 'stranger', tags: { Action: 'Ping' }, data: 'continue' },
    { name: 'handlers.stop', from: 'stranger', tags: { Action: 'Other' }, data: 'stop' },
    one('handlers.fails', "Handlers.add('fails', Handlers.utils.hasMatchingTag('Action', 'Fail'), function (msg) Failed = true error('handler failed: ' .. msg.Data) end)"),
    { name: 'handlers.fail~', from: 'stranger', tags: { Action: 'Fail' }, data: 'on purpose' },
    show('handlers.fail.state', 'return tostring(Failed), tostring(Seen), tostring(Pings)'),
    one('handlers.once~', "Handlers.once('once', Handlers.utils.hasMatchingTag('Action', 'Once'), function (msg) print('only once') end)"),
    { name: 'handlers.once.first', from: 'stranger', tags: { Action: 'Once' }, data: '' },
    { name: 'handlers.once.second', from: 'stranger', tags: { Action: 'Once' }, data: '' },
    one('handlers.receive~', "local reply = Receive({ Action = 'Answer' }) Answered = reply.Data return 'answered ' .. reply.Data"),
    { name: 'handlers.receive.answer', from: 'stranger', tags: { Action: 'Answer' }, data: 'forty-two' },
    one('handlers.receive.state', 'return tostring(Answered)'),
    one('handlers.remove', "Handlers.remove('function') Handlers.remove('fails') local n = {} for _, h in ipairs(Handlers.list) do n[#n + 1] = tostring(h.name) end return table.concat(n, ' ')"),
    one('handlers.bad!', "Handlers.add('bad', 5, 6)"),
    { name: 'cron', from: 'owner', cron: true, tags: { Action: 'Cron' }, data: '' }
  ]
}

/** Programs with numbers drawn from the seed, so that modules do not all see the same ones. */
function drawn (random, count) {
  const float = () => `${random(2) ? '-' : ''}${random(1e9)}.${random(1e9)}e${random(2) ? '-' : ''}${random(300)}`
  const integer = () => `0x${[random(2 ** 32), random(2 ** 32)].map((n) => n.toString(16).padStart(8, '0')).join('')}`
  const kinds = [
    () => ['floats', `local a, b = ${float()}, ${float()} return a, b, a + b, a * b, a / b, string.format('%.17g %.3e %g %a', a, b, a - b, a)`],
    () => ['integers', `local a, b = ${integer()}, ${integer()} return a + b, a * b, a - b, a // b, a % b, a & b, a | b, a ~ b, a >> ${random(70)}, a << ${random(70)}, a < b, math.ult(a, b), a + 0.0`],
    () => ['strings', `local s = '${sha256('text' + random(1e9)).toString('hex').repeat(1 + random(20))}' return #s, s:find('${random(16).toString(16)}%x${random(16).toString(16)}'), (s:gsub('[a-f]+', string.upper)), s:rep(${random(4)}):sub(${1 + random(30)}, -${1 + random(30)})`],
    () => ['table', `Kept = Kept or {} for i = 1, ${50 + random(500)} do Kept[(i * ${1 + random(9999)}) % 1009] = i * ${float()} end local n, s = 0, 0 for k, v in pairs(Kept) do n = n + 1 s = s + k end return n, s`],
    () => ['send', `for i = 1, ${1 + random(4)} do ao.send({ Target = '${id('target' + random(50))}', Action = 'A${random(9)}', Data = tostring(i * ${float()}) }) end return #ao.id`]
  ]
  return Array.from({ length: count }, (_, i) => { const [name, source] = kinds[i % kinds.length](); return [`drawn.${i}.${name}`, source] })
}

/** The steps of the corpus for the module of this short name. */
export function corpus (module) {
  const { format } = MODULES[module]
  const random = generator(module)
  const process = id(`process/${module}`)
  const protocol = (type) => tagsOf({ 'Data-Protocol': 'ao', Variant: 'ao.TN.1', Type: type })
  const processTags = [...protocol('Process'), ...tagsOf({ Module: id(`module/${module}`), Scheduler: id('scheduler'), Name: 'corpus', Authority: id('unit') })]
  const env = JSON.stringify({
    Process: { Id: process, Owner: OWNER, Tags: processTags },
    Module: { Id: id(`module/${module}`), Owner: id('module owner'), Tags: [...protocol('Module'), ...tagsOf({ 'Module-Format': format, 'Memory-Limit': '1-gb', 'Compute-Limit': '9000000000000' })] }
  })
  const steps = [
    { name: 'spawn', id: process, tags: {}, list: [], data: '1984' },
    ...evals([...lua.state, ...lua.sends, ...lua.errors, ...shown(lua.calls)]),
    ...conversations(random),
    ...evals(shown([...lua.numbers, ...lua.strings, ...lua.tables, ...(module === 'sqlite' ? lua.sqlite : []), ...drawn(random, 25), ...lua.growth]))
  ]
  return steps.map((step, nonce) => {
    const from = step.from && step.from !== 'owner' ? id(step.from) : OWNER
    const tags = nonce === 0 ? processTags : [...protocol('Message'), ...tagsOf(step.tags ?? {}), ...(step.list ?? []).map(([name, value]) => ({ name, value }))]
    const msg = {
      Id: step.id ?? id(`${module}/message/${nonce}`),
      Signature: Buffer.concat(Array.from({ length: 16 }, (_, i) => sha256(`${module}/signature/${nonce}/${i}`))).toString('base64url'),
      Data: step.data,
      Owner: from,
      Target: process,
      Anchor: '',
      From: step.forwardedBy ? id(step.forwardedBy) : from,
      ...(step.forwardedBy ? { 'Forwarded-By': from } : {}),
      Tags: tags,
      Epoch: 0,
      Nonce: nonce,
      Timestamp: 1735689600000 + nonce * 1000,
      'Block-Height': 1580000 + Math.floor(nonce / 120),
      'Hash-Chain': id(`${module}/chain/${nonce}`),
      Cron: step.cron ?? false,
      'Read-Only': false
    }
    return { name: step.name, msg: JSON.stringify(msg), env }
  })
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { module } = parseArgs({ module: undefined }, `usage: node corpus.mjs --module ${Object.keys(MODULES).join('|')}`)
  for (const step of corpus(module)) process.stdout.write(JSON.stringify(step) + '\n')
}
