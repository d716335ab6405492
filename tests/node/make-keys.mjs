// Made the three RSA-4096 test keys once; kept to show how. Keys that exist are left alone.
import { generateKeyPairSync } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { root } from './tools.mjs'

const dir = path.join(root, 'fixtures/vectors/keys')
fs.mkdirSync(dir, { recursive: true })
for (const name of ['owner', 'scheduler', 'user']) {
  const file = path.join(dir, name + '.json')
  if (fs.existsSync(file)) continue
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 4096, publicExponent: 0x10001 })
  fs.writeFileSync(file, JSON.stringify(privateKey.export({ format: 'jwk' }), null, 1) + '\n')
}
