-- The checker itself: histories that are linearizable, and such that are not.

local linear = require "linear"

local SEEDS = os.getenv "FAULTS" == "share" and 20 or 200

local function write(value, call, back)
  return { kind = "write", value = value, call = call, back = back }
end

local function read(value, call, back)
  return { kind = "read", value = value, call = call, back = back }
end

local function swap(old, value, call, back)
  return { kind = "swap", old = old, value = value, call = call, back = back }
end

local LINEARIZABLE = {
  ["nothing"] = {},
  ["one after the other"] = { write("a", 1, 2), read("a", 3, 4), write("b", 5, 6),
    read("b", 7, 8) },
  ["a read beside a write that gives the old value"] = { write("a", 1, 4),
    read("0", 2, 3) },
  ["a read beside a write that gives the new value"] = { write("a", 1, 4),
    read("a", 2, 3) },
  ["writes at once in the order that a read shows"] = { write("a", 1, 4),
    write("b", 2, 3), read("a", 5, 6) },
  ["two reads of one order of two writes"] = { write("a", 1, 4), write("b", 2, 3),
    read("b", 5, 6), read("b", 7, 8) },
  ["a write of unknown outcome that is never seen"] = { write("a", 1), read("0", 2, 3) },
  ["a write of unknown outcome that is seen late"] = { write("a", 1), read("0", 2, 3),
    read("a", 4, 5) },
  ["a write of unknown outcome over one that was later"] = { write("a", 1),
    write("b", 2, 3), read("b", 4, 5), read("a", 6, 7) },
  ["swaps, each of what was there"] = { swap("0", "a", 1, 4), swap("a", "b", 2, 3),
    read("b", 5, 6) },
  ["a swap of unknown outcome that another went on from"] = { swap("0", "a", 1),
    swap("a", "b", 2, 3) },
}

local REFUSED = {
  ["a read of what nobody wrote"] = { read("a", 1, 2) },
  ["a stale read"] = { write("a", 1, 2), read("0", 3, 4) },
  ["a read of what is written later"] = { read("a", 1, 2), write("a", 3, 4) },
  ["a write that is lost"] = { write("a", 1, 2), write("b", 3, 4), read("a", 5, 6) },
  ["two reads that turn back beside a write"] = { write("a", 1, 8), read("a", 2, 3),
    read("0", 4, 5) },
  ["two orders of the same writes"] = { write("a", 1, 2), write("b", 3, 8),
    read("b", 4, 5), read("a", 6, 7) },
  ["a write of unknown outcome that is seen and then not"] = { write("a", 1),
    read("a", 2, 3), read("0", 4, 5) },
  ["a write of unknown outcome that happens twice"] = { write("a", 1), read("a", 2, 3),
    write("b", 4, 5), read("a", 6, 7) },
  ["a write of unknown outcome before its call"] = { read("a", 1, 2), write("a", 3) },
  ["two swaps of the same value"] = { swap("0", "a", 1, 4), swap("0", "b", 2, 3) },
  ["a swap of what was replaced"] = { write("a", 1, 2), swap("0", "b", 3, 4) },
}

-- A history that is linearizable because it was made by a register: clients whose calls
-- overlap, each taking effect at one of its own moments; one of so many of them has no
-- return.
local function made(seed, count, clients, unknown)
  local state, place, ops, busy, written = "0", 0, {}, {}, 0
  local function random(n)
    seed = (seed * 1103515245 + 12345) % 2147483648
    return math.floor(seed / 65536) % n + 1
  end
  local function act(client)
    local op = busy[client]
    place = place + 1
    if not op then
      written = written + 1
      local kinds = { "read", "write", "swap" }
      busy[client] = { kind = kinds[random(3)], value = "v" .. written, call = place }
      ops[#ops + 1] = busy[client]
    elseif not op.is_done then
      if op.kind == "read" then op.value = state end
      if op.kind == "swap" then op.old = state end
      state, op.is_done = op.value, true
    else
      if op.kind == "read" or random(unknown) > 1 then op.back = place end -- or unknown
      busy[client] = nil
    end
  end
  while #ops < count do act(random(clients)) end
  local whole = {}
  for _, op in ipairs(ops) do
    if op.back or (op.kind ~= "read" and op.is_done) then whole[#whole + 1] = op end
  end
  return whole
end

describe("A history", function()
  for name, ops in pairs(LINEARIZABLE) do
    it("of " .. name .. " is linearizable", function()
      local ok, why = linear.check(ops, "0")
      assert.is_true(ok, why)
    end)
  end

  for name, ops in pairs(REFUSED) do
    it("of " .. name .. " is refused", function()
      local ok, why = linear.check(ops, "0")
      assert.is_nil(ok)
      assert.matches("does not fit", why)
    end)
  end

  it("that a register made is linearizable, of any seed", function()
    for seed = 1, SEEDS do
      local ok, why = linear.check(made(seed, 200, 8, 8), "0")
      assert.is_true(ok, why and ("seed %d: %s"):format(seed, why))
    end
  end)

  it("of many at once with a third of unknown outcome is not too much work", function()
    local ok, why = linear.check(made(1, 200, 24, 3), "0")
    assert.is_true(ok, why)
  end)

  it("that a register made is refused with one read of a value long replaced", function()
    for seed = 1, SEEDS do
      local ops = made(seed, 200, 8, 8)
      local old, latest
      for _, op in ipairs(ops) do
        if op.kind == "write" and op.back then old = old or op.value end
        if op.kind == "read" then latest = op end
      end
      latest.value = old
      local ok, why = linear.check(ops, "0")
      assert.is_nil(ok, "seed " .. seed)
      assert.matches("does not fit", why)
    end
  end)
end)
