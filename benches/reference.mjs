// The reference loader behind a pipe. In: a line {"msg","env"} per message, an empty line to ask for the time.
// Out: at each empty line, the nanoseconds that the messages since the last one took, the first instantiation aside: of the
// clock or of all threads' CPU time, whichever is less.
import fs from 'node:fs'
import readline from 'node:readline'
import { Reference } from '../tests/node/loader.mjs'
import { MODULES, modulesDir } from '../tests/node/tools.mjs'

const { file, format } = MODULES.aos2_0_6
const options = { format, computeLimit: 9e12 }
const reference = new Reference(fs.readFileSync(`${modulesDir}/${file}`), options, { copies: process.argv.includes('--copies'), track: false })

let [ms, cpuMs] = [0, 0]
for await (const line of readline.createInterface({ input: process.stdin })) {
  if (line === '') {
    process.stdout.write(`${Math.round(Math.min(ms, cpuMs) * 1e6)}\n`)
    ;[ms, cpuMs] = [0, 0]
    continue
  }
  const { msg, env } = JSON.parse(line)
  const step = await reference.step(msg, env)
  if (step.threw !== null || !step.keep) throw new Error(`a message failed: ${JSON.stringify(step.result)}`)
  ms += step.ms
  cpuMs += step.cpuMs
}
