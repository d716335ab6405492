// Runs the reference loader over a file of steps and prints one JSON line per step, or with --bench one line in all.
// See README.md for the fields and for what the switches mean.
import fs from 'node:fs'
import { CHUNK, Reference } from './loader.mjs'
import { MODULES, die, modulesDir, parseArgs } from './tools.mjs'

const usage = `usage: node reference.mjs --module <short name | file.wasm> --steps <file.jsonl | -> [--format F]
  [--on-error keep-instance|new-instance] [--copies] [--no-memory] [--memory-to <file>] [--bench] [--compute-limit N]`
const args = parseArgs({
  module: undefined, steps: undefined, format: '', 'on-error': 'keep-instance', copies: Boolean, 'no-memory': Boolean, 'memory-to': '', bench: Boolean, 'compute-limit': '9000000000000'
}, usage)
const known = MODULES[args.module]
const format = args.format || known?.format || die(`--format is needed for ${args.module}\n${usage}`)
if (!['keep-instance', 'new-instance'].includes(args['on-error'])) die(usage)

const wasm = fs.readFileSync(known ? `${modulesDir}/${known.file}` : args.module)
const lines = fs.readFileSync(args.steps === '-' ? 0 : args.steps, 'utf8').split('\n').filter(Boolean)
const reference = new Reference(wasm, { format, computeLimit: Number(args['compute-limit']) }, {
  copies: args.copies, onError: args['on-error'], track: !args.bench
})

if (args['memory-to'] && args.copies) die('--memory-to needs a memory that stays in place')
const memoryFile = args['memory-to'] && fs.openSync(args['memory-to'], 'w')

/** Appends the chunks that a step wrote: number as u32, little endian, and bytes. */
function writeMemory () {
  const written = reference.takeWritten()
  for (const number of written) {
    const head = Buffer.alloc(4)
    head.writeUInt32LE(number)
    fs.writevSync(memoryFile, [head, reference.memory.subarray(number * CHUNK, (number + 1) * CHUNK)])
  }
  return { memory_written: written.length, memory_bytes: reference.memory.length }
}

function memoryFields () {
  if (args['no-memory']) return {}
  return memoryFile ? writeMemory() : { memory_sha256: reference.sha256, memory_bytes: reference.memory.length }
}

const wall = []
const cpu = []
for (const line of lines) {
  const { msg, env } = JSON.parse(line)
  const { result, gas, keep, threw, ms, cpuMs } = await reference.step(msg, env)
  wall.push(ms)
  cpu.push(cpuMs)
  if (args.bench) continue
  process.stdout.write(JSON.stringify({ result, ...memoryFields(), gas, keep, clock: reference.clock, threw }) + '\n')
}

if (args.bench) {
  // The first message boots the process and the second often installs a program: neither is a usual one.
  const median = (list) => Number(list.slice(2).sort((a, b) => a - b)[(list.length - 2) >> 1]?.toFixed(4))
  const [firstMs, ...rest] = wall
  process.stdout.write(JSON.stringify({
    module: args.module, copies: args.copies, messages: lines.length, first_ms: firstMs, median_ms: median(wall), median_cpu_ms: median(cpu), total_ms: rest.reduce((a, b) => a + b, firstMs)
  }) + '\n')
}
// The glue of an old format may leave an exit status of the guest behind.
process.stdout.write('', () => process.exit(0))
