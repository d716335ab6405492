-- A trader of `aorta demo`: two purses, peers to barter with, and for one of them a clock.
--
-- Invariant: gold and silver are only moved. What left a purse with a message is in the purse of whoever handled it, so
-- that both are conserved over all traders whenever as many letters were read as were written.
--
-- Before this line `Peers` is set: a list of the ids of all traders.

local json = require('json')

Purse = Purse or { Gold = 1000, Silver = 1000 }
-- Letters to peers and from peers; pings answered; trades done, refused, and not begun for want of gold.
Written, Read, Pongs = Written or 0, Read or 0, Pongs or 0
Trades = Trades or { Done = 0, Refused = 0, Poor = 0 }
-- Whether cron messages still have an effect, how many had, and whose turn it was.
Open, Ticks, Turn = Open ~= false, Ticks or 0, Turn or 0

local known = {}
for _, peer in ipairs(Peers) do known[peer] = true end

local function amount(msg, name)
  local value = math.tointeger(tonumber(msg.Tags[name]))
  assert(value and value >= 0, name .. ' is no amount')
  return value
end

local function write(peer, action, tags)
  local letter = { Target = peer, Action = action }
  for name, value in pairs(tags or {}) do letter[name] = tostring(value) end
  Written = Written + 1
  ao.send(letter)
end

-- A handler for what the owner asks, and one for letters of peers; whoever else asks is not answered.
local function owner(action, handle)
  Handlers.add(action, { Action = action }, function (msg)
    if msg.From == Owner then handle(msg) end
  end)
end
local function peer(action, handle)
  Handlers.add(action, { Action = action }, function (msg)
    if not known[msg.From] then return end
    Read = Read + 1
    handle(msg)
  end)
end

local function offer(to, gold, silver)
  if gold > Purse.Gold then
    Trades.Poor = Trades.Poor + 1
    return
  end
  Purse.Gold = Purse.Gold - gold
  write(to, 'Offer', { Gold = gold, Silver = silver })
end

owner('Trade', function (msg) offer(msg.Tags.With, amount(msg, 'Gold'), amount(msg, 'Silver')) end)
owner('Greet', function (msg) write(msg.Tags.With, 'Ping') end)
owner('Close', function () Open = false end)

-- From the clock of the process; the unit makes such a message in the owner's name.
owner('Cron', function ()
  if not Open then return end
  Ticks = Ticks + 1
  Turn = Turn % #Peers + 1
  if Peers[Turn] ~= ao.id then offer(Peers[Turn], 1, 1) end
end)

-- Gold for silver, or the gold back.
peer('Offer', function (msg)
  local gold, silver = amount(msg, 'Gold'), amount(msg, 'Silver')
  if silver > Purse.Silver then
    write(msg.From, 'Refuse', { Gold = gold })
    return
  end
  Purse.Gold, Purse.Silver = Purse.Gold + gold, Purse.Silver - silver
  write(msg.From, 'Pay', { Silver = silver })
end)
peer('Pay', function (msg)
  Purse.Silver = Purse.Silver + amount(msg, 'Silver')
  Trades.Done = Trades.Done + 1
end)
peer('Refuse', function (msg)
  Purse.Gold = Purse.Gold + amount(msg, 'Gold')
  Trades.Refused = Trades.Refused + 1
end)
peer('Ping', function (msg) write(msg.From, 'Pong') end)
peer('Pong', function () Pongs = Pongs + 1 end)

Handlers.add('Report', { Action = 'Report' }, function (msg)
  ao.send({ Target = msg.From, Data = json.encode({
    gold = Purse.Gold, silver = Purse.Silver, written = Written, read = Read, pongs = Pongs,
    done = Trades.Done, refused = Trades.Refused, poor = Trades.Poor, ticks = Ticks }) })
end)

return 'open'
