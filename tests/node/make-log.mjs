// Builds a log folder of truly signed items: process.ans104, module.json, module.wasm and log/<nonce>.ans104, each of these
// a bundle [assignment, message] as a scheduler unit uploads it. Everything but the RSA signatures (and so the ids) is seeded.
import crypto, { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { MODULES, die, modulesDir, parseArgs, require, root } from './tools.mjs'
import { guestScript, ledgerScript, smallScript } from './log-scripts.mjs'

const { ArweaveSigner, EthereumSigner, DataItem, bundleAndSignData, createData } = require('arbundles')
const scripts = { ledger: ledgerScript, small: smallScript, guest: guestScript }

const usage = `usage: node make-log.mjs --script ledger|small|guest --module <short name | file.wasm> --out DIR
  [--format F] [--messages 1000] [--memory-limit 1-gb] [--no-wasm]`
const args = parseArgs({ script: undefined, module: undefined, out: undefined, format: '', messages: '1000', 'memory-limit': '1-gb', 'no-wasm': Boolean }, usage)
const known = MODULES[args.module]
const format = args.format || known?.format || die(`--format is needed for ${args.module}\n${usage}`)
const script = scripts[args.script] ?? die(usage)
const wasm = fs.readFileSync(known ? path.join(modulesDir, known.file) : args.module)

const T0 = 1735689600000 // timestamp of nonce 0
const BLOCK0 = 1580000 // from 1440000 on the reference CU checks hash chains
const sha256 = (...parts) => parts.reduce((h, part) => h.update(part), createHash('sha256')).digest()
const b64u = (bytes) => Buffer.from(bytes).toString('base64url')
const seeded = (label) => sha256(`aorta log/${args.script}/${args.module}/${label}`)
const tag = (name, value) => ({ name, value: String(value) })

/** Type 2, and type 4 which signs the hexadecimal text of the hash: with Node's own ed25519. */
function ed25519Signer (label, signatureType) {
  const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seeded(label)])
  const key = crypto.createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
  const publicKey = Buffer.from(crypto.createPublicKey(key).export({ format: 'jwk' }).x, 'base64url')
  const toSign = (hash) => (signatureType === 4 ? Buffer.from(Buffer.from(hash).toString('hex')) : hash)
  return { signatureType, signatureLength: 64, ownerLength: 32, publicKey, sign: async (hash) => crypto.sign(null, toSign(hash), key) }
}

const signers = new Map()
function signer (name) {
  if (signers.has(name)) return signers.get(name)
  const [kind] = name.split(':')
  const made = kind === 'ethereum'
    ? new EthereumSigner(seeded(name).toString('hex'))
    : kind === 'ed25519' || kind === 'solana'
      ? ed25519Signer(name, kind === 'solana' ? 4 : 2)
      : new ArweaveSigner(JSON.parse(fs.readFileSync(path.join(root, 'fixtures/vectors/keys', name + '.json'))))
  signers.set(name, made)
  return made
}
const addressOf = (name) => b64u(sha256(signer(name).publicKey))

/** Small numbers below `n` from a counter under SHA-256. */
let drawn = 0
const random = (n) => seeded(`random/${drawn++}`).readUInt32LE(0) % n

async function item (by, { tags, data = '', target, anchor }) {
  const made = createData(data, signer(by), { tags, target, anchor })
  await made.sign(signer(by))
  if (signer(by).signatureType !== 1 && !(await DataItem.verify(made.getRaw()))) throw new Error(`arbundles refuses a signature of ${by}`)
  return made
}

const moduleId = b64u(sha256(wasm))
const moduleTags = [
  tag('Data-Protocol', 'ao'), tag('Variant', 'ao.TN.1'), tag('Type', 'Module'), tag('Module-Format', format), tag('Input-Encoding', 'JSON-V1'),
  tag('Output-Encoding', 'JSON-V1'), tag('Memory-Limit', args['memory-limit']), tag('Compute-Limit', '9000000000000'), tag('Content-Type', 'application/wasm')
]
const protocol = (type) => [tag('Data-Protocol', 'ao'), tag('Variant', 'ao.TN.1'), tag('Type', type), tag('SDK', 'aoconnect')]

const spawn = await item('owner', {
  data: '1984',
  tags: [...protocol('Process'), tag('Module', moduleId), tag('Scheduler', addressOf('scheduler')), tag('Name', `aorta-${args.script}`), tag('Content-Type', 'text/plain')]
})
fs.mkdirSync(path.join(args.out, 'log'), { recursive: true })
fs.writeFileSync(path.join(args.out, 'process.ans104'), spawn.getRaw())
fs.writeFileSync(path.join(args.out, 'module.json'), JSON.stringify({ id: moduleId, owner: addressOf('owner'), tags: moduleTags }, null, 1) + '\n')
if (!args['no-wasm']) fs.writeFileSync(path.join(args.out, 'module.wasm'), wasm)

const entries = [null, ...script(Number(args.messages), { random, addressOf })]
let hashChain = sha256(spawn.rawId)
let previous
for (const [nonce, entry] of entries.entries()) {
  const message = entry
    ? await item(entry.signer, { ...entry, tags: [...protocol('Message'), ...entry.tags], target: spawn.id })
    : spawn
  if (previous) hashChain = sha256(previous, hashChain)
  const assignment = await item('scheduler', {
    anchor: seeded(`anchor/${nonce}`),
    tags: [
      tag('Process', spawn.id), tag('Epoch', 0), tag('Nonce', nonce), tag('Hash-Chain', b64u(hashChain)),
      tag('Block-Height', String(BLOCK0 + Math.floor(nonce / 120)).padStart(12, '0')), tag('Timestamp', T0 + nonce * 1000),
      tag('Data-Protocol', 'ao'), tag('Type', 'Assignment'), tag('Variant', 'ao.TN.1'),
      // A process' own assignment names no message.
      ...(entry ? [tag('Message', message.id)] : [])
    ]
  })
  previous = assignment.rawId
  const bundle = await bundleAndSignData([assignment, message], signer('scheduler'))
  fs.writeFileSync(path.join(args.out, 'log', `${String(nonce).padStart(12, '0')}.ans104`), bundle.getRaw())
}
process.stdout.write(`${args.out}: process ${spawn.id}, ${entries.length} assignments\n`)
