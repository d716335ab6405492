// Runs the standalone guest of fixtures/guests over Node's own WASI, in an empty folder: node wasi.mjs <module> <data>…
// Prints a JSON line for each message with this data: the text that the guest answered.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { WASI } from 'node:wasi'

const [file, ...messages] = process.argv.slice(2)
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'aorta-wasi-'))
try {
  const nothing = fs.openSync('/dev/null', 'r+')
  const wasi = new WASI({ version: 'preview1', args: [], env: {}, preopens: { '/': folder }, stdin: nothing, stdout: nothing, stderr: nothing })
  const module = new WebAssembly.Module(fs.readFileSync(file))
  const instance = new WebAssembly.Instance(module, wasi.getImportObject())
  wasi.initialize(instance)
  const { memory, malloc, free, handle } = instance.exports
  const give = (text) => {
    const bytes = Buffer.from(text + '\0')
    const at = malloc(bytes.length)
    Buffer.from(memory.buffer).set(bytes, at)
    return at
  }
  for (const data of messages) {
    const texts = [give(JSON.stringify({ Data: data })), give('{}')]
    const at = handle(...texts)
    const bytes = Buffer.from(memory.buffer)
    process.stdout.write(JSON.stringify(bytes.toString('utf8', at, bytes.indexOf(0, at))) + '\n')
    texts.forEach((text) => free(text))
  }
} finally {
  fs.rmSync(folder, { recursive: true })
}
