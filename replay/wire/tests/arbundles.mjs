// Says what npm arbundles makes of items: frames (u32le length, bytes) on stdin, one line of JSON for each on stdout.
// Packages come from NODE_PATH.
import { createRequire } from 'node:module'

const { DataItem } = createRequire(import.meta.url)('arbundles')

async function judge (bytes) {
  const accepted = await DataItem.verify(bytes).catch(() => false)
  if (!accepted) return { accepted: false }
  const item = new DataItem(bytes)
  return {
    accepted: true,
    id: item.id,
    owner: item.owner,
    target: item.target,
    anchor: item.anchor,
    tags: item.tags.map(({ name, value }) => [name, value]),
    data: item.data,
    deepHash: Buffer.from(await item.getSignatureData()).toString('base64url')
  }
}

const chunks = []
for await (const chunk of process.stdin) chunks.push(chunk)
const input = Buffer.concat(chunks)
const lines = []
for (let at = 0; at < input.length;) {
  const end = at + 4 + input.readUInt32LE(at)
  lines.push(JSON.stringify(await judge(input.subarray(at + 4, end))))
  at = end
}
process.stdout.write(lines.join('\n') + '\n')
