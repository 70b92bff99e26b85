-- linear.lua - is a history of one register linearizable?
--
-- The search of Wing and Gong, with Lowe's memory of what was tried: it looks for an
-- order of all operations, each at one moment between its call and its return, in which
-- every one gives what it gave.  An operation whose outcome is unknown may have happened
-- at any time after its call, or never.
--
-- An operation is { kind =, value =, old =, call =, back = }: "read" gave value, "write"
-- set it, "swap" set value where old was (old = nil: whatever was).  call and back are
-- unique places in the history, back is nil when the outcome is unknown.  No two
-- operations set the same value.

local linear = {}

local STEPS_MAX = 1000000

-- The state after an operation, or nil when it could not give what it gave.
local function step(state, op)
  if op.kind == "read" then return op.value == state and state or nil end
  if op.kind == "swap" and op.old ~= nil and op.old ~= state then return nil end
  return op.value
end

-- What was set by an operation of unknown outcome and never seen is as if it never was:
-- so it need not be tried at each place.
local function needed(ops)
  local seen, kept = {}, {}
  for _, op in ipairs(ops) do
    if op.kind == "read" and op.back then seen[op.value] = true end
    if op.old ~= nil then seen[op.old] = true end
  end
  for _, op in ipairs(ops) do
    if op.back or (op.kind ~= "read" and seen[op.value]) then kept[#kept + 1] = op end
  end
  return kept
end

-- ---- the list of calls and returns that are not yet in the order

local function new_list(ops)
  local entries = {}
  for i, op in ipairs(ops) do
    local call = { op = op, id = i, at = op.call }
    entries[#entries + 1] = call
    if op.back then
      call.match = { op = op, id = i, at = op.back, is_return = true }
      entries[#entries + 1] = call.match
    end
  end
  table.sort(entries, function(a, b) return a.at < b.at end)
  local head = {}
  local last = head
  for _, entry in ipairs(entries) do
    last.next, entry.previous = entry, last
    last = entry
  end
  return head
end

local function unlink(entry)
  entry.previous.next = entry.next
  if entry.next then entry.next.previous = entry.previous end
end

local function relink(entry)
  entry.previous.next = entry
  if entry.next then entry.next.previous = entry end
end

local function lift(call)
  unlink(call)
  if call.match then unlink(call.match) end
end

local function unlift(call)
  if call.match then relink(call.match) end
  relink(call)
end

-- Walks those that may be the next: all that are called before the first return.
local function each_next(head, fn)
  local entry = head.next
  while entry and not entry.is_return do
    if fn(entry) then return entry end
    entry = entry.next
  end
end

-- A read of the present state can be put at once, and nothing else need be tried: it
-- changes nothing, so where it fits now it hinders none.
local function read_of(head, state)
  return each_next(head, function(entry)
    return entry.op.kind == "read" and entry.op.value == state
  end)
end

-- What sets a value at a moment of our choice is put right before who sees that value;
-- elsewhere it is overwritten unseen, for good.
local function is_seen_next(head, call)
  return each_next(head, function(entry)
    local op = entry.op
    return entry ~= call and (op.kind == "read" and op.value or op.old) == call.op.value
  end)
end

-- ---- what was tried: which operations are in the order, and what they led to

-- Those with a return are named by the first that is lacking and those after it.
local function key_of(done, first, count, maybe, state)
  while done[first] do first = first + 1 end
  local words = { first }
  for i = first + 1, count do
    if done[i] then words[#words + 1] = i end
  end
  local key = { table.concat(words, ","), table.concat(maybe, ","), state }
  return table.concat(key, "|"), first
end

local function new_order(count)
  return { done = {}, first = 1, high = 0, count = count, maybe = {}, n = 0 }
end

local function put(order, call)
  if call.match then
    order.done[call.id] = true
    if call.id > order.high then order.high = call.id end
  else
    order.maybe[#order.maybe + 1] = call.id
    table.sort(order.maybe)
  end
  order.n = order.n + 1
end

local function take(order, call)
  if call.match then
    order.done[call.id] = nil
    if call.id < order.first then order.first = call.id end
  else
    for i, id in ipairs(order.maybe) do
      if id == call.id then table.remove(order.maybe, i) break end
    end
  end
  order.n = order.n - 1
end

local function told(op)
  return ("%s %s%s [%s, %s]"):format(op.kind, tostring(op.value),
    op.old and " over " .. tostring(op.old) or "", op.call, op.back or "unknown")
end

-- Undoes what was put last, with the reads before it that nothing else could be instead
-- of: gives it, with the state before; or nil when nothing is left.
local function undo(stack, order)
  while true do
    local last = table.remove(stack)
    if not last then return nil end
    take(order, last.call)
    unlift(last.call)
    if not last.is_forced then return last end
  end
end

-- True; or nil and which operation does not fit; or nil and that it was too much work.
function linear.check(all, initial)
  local ops = needed(all)
  table.sort(ops, function(a, b) return a.call < b.call end)
  local head, order, tried, stack = new_list(ops), new_order(#ops), {}, {}
  local state, steps, furthest, culprit = initial, 0, -1, nil
  local forced = read_of(head, state)
  local entry = forced or head.next
  while entry do
    steps = steps + 1
    if steps > STEPS_MAX then return nil, "too much work to tell" end
    local next_state = not entry.is_return and step(state, entry.op)
    local is_new = false
    if next_state and (entry.match or is_seen_next(head, entry)) then
      local key
      put(order, entry)
      key, order.first = key_of(order.done, order.first, order.high, order.maybe,
        next_state)
      is_new = not tried[key]
      tried[key] = true
      if not is_new then take(order, entry) end
    end
    if is_new then
      stack[#stack + 1] = { call = entry, state = state, is_forced = forced ~= nil }
      state = next_state
      lift(entry)
      forced = read_of(head, state)
      entry = forced or head.next
    elseif not entry.is_return and not forced then
      entry = entry.next
    else
      if entry.is_return and order.n > furthest then
        furthest, culprit = order.n, entry.op
      end
      local last = undo(stack, order)
      if not last then return nil, "does not fit: " .. told(culprit) end
      state, forced = last.state, nil
      entry = last.call.next
    end
  end
  return true
end

return linear
