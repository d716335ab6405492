// Checks that the steps of a corpus did in the reference what their names say: `!` an `Error`, `~` either, others none, and no
// Eval of the owner was taken for a message of a stranger. Exits 1 if one did not.
import fs from 'node:fs'
import { parseArgs } from './tools.mjs'

const args = parseArgs({ steps: undefined, answers: undefined }, 'usage: node check-corpus.mjs --steps <corpus> --answers <output of reference.mjs>')
const read = (file) => fs.readFileSync(file, 'utf8').split('\n').filter(Boolean).map(JSON.parse)
const steps = read(args.steps)
const answers = read(args.answers)

const wrong = []
if (steps.length !== answers.length) wrong.push(`${steps.length} steps but ${answers.length} answers`)
let [errors, threw] = [0, 0]
for (const [i, { result, threw: thrown }] of answers.entries()) {
  const { name } = steps[i]
  const failed = 'Error' in result
  errors += failed
  threw += thrown !== null
  const refused = name.startsWith('eval.') && JSON.stringify(result.Output).includes('New Message From')
  if (refused || (!name.endsWith('~') && failed !== name.endsWith('!'))) wrong.push(`${i} ${name}: ${JSON.stringify(failed ? result.Error : result.Output).slice(0, 200)}`)
}
const sizes = [...new Set(answers.map((answer) => answer.memory_bytes))].join(' ')
process.stdout.write(`${answers.length} steps, ${errors} errors of which ${threw} thrown, memory ${sizes} bytes, ${wrong.length} wrong\n${wrong.join('\n')}`)
process.exit(wrong.length ? 1 : 0)
