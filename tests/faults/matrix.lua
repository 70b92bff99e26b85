-- matrix.lua - which fault meets which moment of which backend, and what may fail then.
--
-- A row is a moment: where in the bytes a fault strikes, and for each fault that makes
-- sense there how many of the moment's calls may fail.  What is not in a row makes no
-- sense: nothing is on its way while a connection is dialled or idle, so no byte can be
-- corrupt, doubled, late or slow; only who dials can be refused.

local matrix = {}

-- The proxy's commands.  up and down are the moment's places, which are the connection's
-- for those of "new", else counted from the strike on; scope is old, new, or nothing.
matrix.faults = {
  { "latency", "latency both 15 10" },
  { "bandwidth", "rate both 20000" },
  { "refuse", "refuse on" },
  { "cut", "at down $down cut $scope" },
  { "reset", "at down $down reset $scope" },
  { "black hole", "at up $up stall $scope", "at down $down stall $scope" },
  { "stall", "at down $down stall $scope" },
  { "duplicate", "at down $down duplicate $scope" },
  { "corrupt", "at down $down corrupt $scope" },
}

-- Of the calls of a moment: none; one, whose statement may have begun; those on the two
-- connections that are idle, for what showed life just now is not tested; the writes in
-- flight, and one read, where it was thought slow and had a connection of its own; all.
local NONE, ONE, IDLE = "none", "one", "idle"
local WRITES, ALL = "writes", "all"

local BREAK_ALL = {
  latency = NONE, bandwidth = NONE, cut = ALL, reset = ALL, ["black hole"] = ALL,
  stall = ALL, duplicate = ALL, corrupt = ALL,
}

local function with(row, changes)
  local made = {}
  for name, budget in pairs(row) do made[name] = budget end
  for name, budget in pairs(changes) do made[name] = budget or nil end
  return made
end

-- Moments: their act is in matrix_spec.lua.  A fault stays until all calls are over, but
-- for those that are to strike once.
matrix.moments = {
  -- Struck at the client's first byte, for the server is silent until then.
  { name = "connect", up = 0, down = 0,
    budgets = with(BREAK_ALL, { refuse = ALL, duplicate = false, corrupt = false }) },
  -- In the ServerHello; Postgres' comes after its S.
  { name = "TLS", up = 60, down = 60, tls = true, budgets = BREAK_ALL },
  -- Postgres: in the second message of SCRAM; Redis: in the answer of AUTH.  The stall is
  -- right after it: a server that let in and is silent from then on.
  { name = "auth", is_auth = true, budgets = BREAK_ALL },
  -- Redis: a script that the server has not seen, which may be sent twice.
  { name = "prepare", up = 0, down = 0, once = true,
    budgets = with(BREAK_ALL, {
      cut = ONE, reset = ONE, duplicate = ONE, corrupt = ONE }) },
  -- Over TLS: without it nobody can tell a byte that was changed from another answer.
  { name = "group in flight", up = 0, down = 300, tls = true, once = true,
    budgets = with(BREAK_ALL, {
      cut = WRITES, reset = WRITES, duplicate = WRITES, corrupt = WRITES }) },
  { name = "idle", up = 0, down = 0, scope = "old",
    budgets = { cut = NONE, reset = NONE, ["black hole"] = NONE, stall = NONE } },
  { name = "release", up = 0, down = 0, scope = "old", once = true,
    budgets = {
      latency = NONE, bandwidth = NONE, cut = NONE, reset = NONE, ["black hole"] = IDLE,
      stall = IDLE, duplicate = NONE, corrupt = NONE } },
  { name = "cancel", up = 0, down = 0, is_cancel = true, once = true,
    budgets = {
      latency = NONE, bandwidth = NONE, cut = NONE, reset = NONE, ["black hole"] = NONE,
      stall = NONE, duplicate = NONE, corrupt = NONE } },
}

-- What a call that fails may say.
matrix.codes = { lost = true, refused = true, timeout = true, protocol = true }

-- One of each fault and moment for each backend, for every change.
matrix.share = {
  Postgres = {
    connect = "black hole", TLS = "corrupt", auth = "stall", prepare = "cut",
    ["group in flight"] = "reset", idle = "black hole", release = "duplicate",
    cancel = "cut",
  },
  Redis = {
    connect = "refuse", TLS = "cut", auth = "corrupt", prepare = "duplicate",
    ["group in flight"] = "black hole", idle = "reset", release = "stall",
    cancel = "reset",
  },
}

return matrix
