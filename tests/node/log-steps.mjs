// Prints the steps of a log folder, one JSON line {msg, env} each, as the reference CU would hand them to the module.
// Written from the CU's rules (ao-su.js mapNode, model.js messageSchema, evaluate.js) so that ours can be compared with it byte for byte.
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { parseArgs, require } from './tools.mjs'

const { Bundle, DataItem } = require('arbundles')
const { keccak_256: keccak } = require('@noble/hashes/sha3')

const args = parseArgs({ log: undefined }, 'usage: node log-steps.mjs --log DIR')

const b64u = (bytes) => Buffer.from(bytes).toString('base64url')
const find = (tags, name) => tags.find((tag) => tag.name === name)?.value

/** EIP-55 for a 65-byte key, base64url of SHA-256 for any other. */
function addressOf (owner) {
  if (owner.length !== 65) return b64u(createHash('sha256').update(owner).digest())
  const hex = Buffer.from(keccak(owner.subarray(1))).subarray(12).toString('hex')
  const sum = Buffer.from(keccak(hex)).toString('hex')
  return '0x' + [...hex].map((digit, i) => (parseInt(sum[i], 16) >= 8 ? digit.toUpperCase() : digit)).join('')
}

/** The SU serves bytes that are not UTF-8 as null (anchors, process data) or with replacement characters (message data); an absent anchor is null too. */
const utf8OrNull = (bytes) => (Buffer.from(bytes.toString('utf8')).equals(bytes) ? bytes.toString('utf8') : null)

function toMessage (assignment, item, isProcess) {
  const tags = item.tags
  const owner = addressOf(item.rawOwner)
  const from = find(tags, 'From-Process')
  return {
    Id: item.id,
    Signature: item.signature,
    Data: isProcess ? utf8OrNull(item.rawData) : item.rawData.toString('utf8'),
    Owner: owner,
    Target: find(assignment.tags, 'Process'),
    Anchor: utf8OrNull(item.rawAnchor) || null,
    From: from || owner,
    ...(from ? { 'Forwarded-By': owner } : {}),
    Tags: tags.filter(({ name }) => name !== 'From' && name !== 'Owner'),
    Epoch: parseInt(find(assignment.tags, 'Epoch')),
    Nonce: parseInt(find(assignment.tags, 'Nonce')),
    Timestamp: parseInt(find(assignment.tags, 'Timestamp')),
    'Block-Height': parseInt(find(assignment.tags, 'Block-Height')),
    'Hash-Chain': find(assignment.tags, 'Hash-Chain'),
    Cron: false,
    'Read-Only': false
  }
}

const read = (...parts) => fs.readFileSync(path.join(args.log, ...parts))
const spawn = new DataItem(read('process.ans104'))
const module = JSON.parse(read('module.json'))
const env = JSON.stringify({
  Process: { Id: spawn.id, Owner: addressOf(spawn.rawOwner), Tags: spawn.tags },
  Module: { Id: module.id, Owner: module.owner, Tags: module.tags }
})
for (const name of fs.readdirSync(path.join(args.log, 'log')).sort()) {
  const [assignment, item] = new Bundle(read('log', name)).items
  const msg = JSON.stringify(toMessage(assignment, item, item.id === spawn.id))
  process.stdout.write(JSON.stringify({ msg, env }) + '\n')
}
