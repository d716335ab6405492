// Prints the steps {name, msg, env} that every guest of fixtures/guests is run with: `!` asks for what the guest is named for.
import { createHash } from 'node:crypto'

const id = (label) => createHash('sha256').update('aorta guest/' + label).digest('base64url')
const env = JSON.stringify({ Process: { Id: id('process'), Owner: id('owner'), Tags: [] }, Module: { Id: id('module'), Owner: id('owner'), Tags: [] } })
const texts = ['plain', 'now!', 'plain again', 'now! and now!', 'once more!', 'ünïcödé ✓', 'x'.repeat(20000), 'last!', 'end']
for (const [nonce, data] of texts.entries()) {
  const msg = {
    Id: id(`message/${nonce}`), Signature: '', Data: data, Owner: id('owner'), Target: id('process'), Anchor: '', From: id('owner'), Tags: [],
    Epoch: 0, Nonce: nonce, Timestamp: 1735689600000 + nonce, 'Block-Height': 1580000, 'Hash-Chain': id(`chain/${nonce}`), Cron: false, 'Read-Only': false
  }
  process.stdout.write(JSON.stringify({ name: data.slice(0, 20), msg: JSON.stringify(msg), env }) + '\n')
}
