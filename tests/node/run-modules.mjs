// Calls `run` of each module in a folder with each of some numbers, one instance a module, and prints a JSON line for it: a list
// of [answer, the global `trace` after it]. The answer is the number in decimal, "exception" or "trap".
import fs from 'node:fs'
import path from 'node:path'

const [folder, numbers] = process.argv.slice(2)
for (const file of fs.readdirSync(folder).sort()) {
  const module = new WebAssembly.Module(fs.readFileSync(path.join(folder, file)))
  const { run, trace } = new WebAssembly.Instance(module).exports
  const seen = numbers.split(',').map((number) => {
    let answer
    try {
      answer = String(run(Number(number)) >>> 0)
    } catch (error) {
      if (!(error instanceof WebAssembly.Exception || error instanceof WebAssembly.RuntimeError)) throw error
      answer = error instanceof WebAssembly.Exception ? 'exception' : 'trap'
    }
    return [answer, trace.value >>> 0]
  })
  process.stdout.write(JSON.stringify(seen) + '\n')
}
