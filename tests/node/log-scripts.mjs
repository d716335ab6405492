// What is in each log: one entry a message after the spawn (nonce 0), in order.
// `signer` is owner, user (RSA keys of fixtures/vectors/keys), ethereum:<n>, ed25519:<n> or solana:<n>.

const ledger = `
Balances = Balances or {}
Transfers = Transfers or 0
local Start = 1000000
Handlers.add('transfer', Handlers.utils.hasMatchingTag('Action', 'Transfer'), function (msg)
  local from, to, quantity = msg.From, msg.Tags.Recipient, math.tointeger(tonumber(msg.Tags.Quantity))
  local have = Balances[from] or Start
  if not quantity or quantity <= 0 or quantity > have then
    ao.send({ Target = from, Action = 'Transfer-Error', Error = 'Insufficient Balance!', Data = tostring(have) })
    return
  end
  Balances[from] = have - quantity
  Balances[to] = (Balances[to] or Start) + quantity
  Transfers = Transfers + 1
  ao.send({ Target = from, Action = 'Debit-Notice', Recipient = to, Quantity = tostring(quantity), Data = 'You transferred ' .. quantity .. ' to ' .. to })
  ao.send({ Target = to, Action = 'Credit-Notice', Sender = from, Quantity = tostring(quantity), Data = 'You received ' .. quantity .. ' from ' .. from })
end)
Handlers.add('balance', Handlers.utils.hasMatchingTag('Action', 'Balance'), function (msg)
  local who = msg.Tags.Recipient or msg.From
  ao.send({ Target = msg.From, Action = 'Balance-Response', Account = who, Transfers = tostring(Transfers), Data = tostring(Balances[who] or Start) })
end)
return 'ledger loaded'
`

const action = (name, more = {}) => [['Action', name], ...Object.entries(more)].map(([name, value]) => ({ name, value }))

/** A token ledger: one Eval by the owner, then transfers (9 of 10) and balance queries by 40 accounts of three key types. */
export function ledgerScript (messages, { random, addressOf }) {
  const signers = ['user', 'owner', ...Array.from({ length: 24 }, (_, i) => `ethereum:${i}`), ...Array.from({ length: 14 }, (_, i) => `ed25519:${i}`)]
  const entries = [{ signer: 'owner', tags: action('Eval'), data: ledger }]
  while (entries.length < messages - 1) {
    // RSA keys sign seven of ten messages, as most of a real log is signed by wallets and units.
    const signer = random(10) < 7 ? signers[random(2)] : signers[random(signers.length)]
    const other = addressOf(signers[random(signers.length)])
    const tags = random(10) === 0
      ? action('Balance', { Recipient: other })
      : action('Transfer', { Recipient: other, Quantity: String(random(50) === 0 ? 100000000 : 1 + random(999)) })
    entries.push({ signer, tags, data: ' ' })
  }
  return entries
}

/** A dozen messages, each with something of its own in its item. */
export function smallScript (_, { addressOf }) {
  return [
    { signer: 'owner', tags: action('Eval'), data: 'Count = 0\nreturn Count' },
    { signer: 'owner', tags: action('Eval'), data: "Count = Count + 1\nao.send({ Target = Owner, Action = 'Hello', Data = 'n ' .. Count })\nreturn Count" },
    { signer: 'owner', tags: action('Eval'), data: "Count = 99\nerror('this one fails')" },
    { signer: 'owner', tags: action('Eval'), data: 'return Count' },
    { signer: 'user', tags: action('Eval'), data: 'Count = 7 -- not the owner' },
    { signer: 'ethereum:0', tags: action('Greet', { Language: 'Ελληνικά' }), data: 'γειά σου κόσμε 🌍' },
    { signer: 'ed25519:0', tags: action('Greet'), data: '' },
    { signer: 'solana:0', tags: action('Greet'), data: 'hex-signed', anchor: 'an anchor of thirty-two letters!' },
    { signer: 'user', tags: [...action('Relay'), { name: 'From-Process', value: addressOf('user') }, { name: 'From', value: 'liar' }, { name: 'Owner', value: 'liar' }], data: 'relayed' },
    { signer: 'user', tags: [{ name: 'X', value: '1' }, { name: 'X', value: '2' }, { name: 'x', value: '3' }, { name: 'Quote', value: '"\\\t\u2028' }], data: '{"a":[1,2,{"b":null}],"c":"\\u00e9"}' },
    { signer: 'owner', tags: action('Eval'), data: 'return #Inbox' }
  ]
}

/** For the guests of fixtures/guests: the data is all they look at. */
export function guestScript (_, { addressOf }) {
  return ['first', 'now!', '', 'unicode ✓', 'last'].map((data, i) => ({ signer: ['owner', 'user', 'ethereum:0', 'ed25519:0', 'user'][i], tags: action('Any', { N: String(i), To: addressOf('owner') }), data }))
}
