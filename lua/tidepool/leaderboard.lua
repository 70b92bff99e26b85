-- leaderboard.lua - leaderboards: a sorted set of Redis, and with Postgres a copy of it
-- now and then, from which it is made again when Redis lost it.
--
-- Values that several set at the same time go to Redis together: those of one turn of the
-- loop, or of the flush interval, as one batch, one batch after the other.

local core = require "tidepool.core"
local leaderboard_pg = require "tidepool.leaderboard_pg"
local leaderboard_redis = require "tidepool.leaderboard_redis"
local options = require "tidepool.options"
local result = require "tidepool.result"
local Task = require "tidepool.task"

local of = result.of
local LOST = "LOST"
local IN_CALL = 500 -- players of one call of a script, while Redis serves nobody else
local COUNT_MAX = 1000
local PLAYER_BYTES_MAX, SEASON_BYTES_MAX = 200, 60
local CLAIMED = 0.9 -- of the interval: others leave a snapshot to whom it was

local Board = {}
Board.__index = Board

-- ---- what scripts give

local function player_of(player, level)
  if type(player) == "number" then player = core.number_text(player) end
  if type(player) ~= "string" or #player == 0 or #player > PLAYER_BYTES_MAX
    or not options.is_text(player) then
    local got = type(player) == "string" and ("%q"):format(player) or type(player)
    error(("player: UTF-8 of 1 to %d bytes without controls, or a number, expected, got ")
      :format(PLAYER_BYTES_MAX) .. got, level + 1)
  end
  return player
end

local function value_of(value, level)
  if type(value) ~= "number" or value ~= value or value == math.huge
    or value == -math.huge then
    error("value: a finite number expected, got " .. tostring(value), level + 1)
  end
  return value
end

local function count_of(what, count, least, most, level)
  local expected = options.whole(least, most)(count)
  if expected then
    error(("%s: %s expected, got %s"):format(what, expected, tostring(count)), level + 1)
  end
  return count
end

-- ---- Redis that lost the board

local function merge(self, rows, top_place)
  local words = {}
  for i = 1, #rows do
    local row = rows[i]
    words[#words + 1] = row.player
    words[#words + 1] = core.number_text(row.value)
    words[#words + 1] = ("%.0f"):format(row.place)
  end
  local done, err = self.store:run_unmarked("merge", ("%.0f"):format(top_place),
    core.encode(words))
  return done, err
end

-- Gives Redis what Postgres has: how many players; or nil, err.
local function restore(self)
  local run, err = self.store:server_run()
  if not run then return nil, err end
  local top_place, why = self.pg:top_place(self.season_name)
  if not top_place then return nil, why end
  local after, count = "", 0
  while true do
    local rows, failure = self.pg:page(self.season_name, after)
    if not rows then return nil, failure end
    if #rows == 0 then break end
    local done, wrong = merge(self, rows, top_place)
    if not done then return nil, wrong end
    after, count = rows[#rows].player, count + #rows
  end
  local marked, wrong = self.store:set_mark(run)
  if not marked then return nil, wrong end
  self.counts.restores = self.counts.restores + 1
  self.counts.restored = self.counts.restored + count
  return count
end

-- One at a time in a process; who comes meanwhile waits for it.
local function restore_once(self)
  if not self.restoring then self.restoring = core.spawn(restore, self) end
  local task = self.restoring
  local ok, count, err = task:wait()
  if self.restoring == task then self.restoring = nil end
  if not ok then error(count, 0) end
  if not count then return nil, err end
  return count
end

-- A script's reply; the board is made again first when Redis lost it.
local function run(self, verb, ...)
  for _ = 1, 2 do
    local reply, err = self.store:run(verb, ...)
    if reply ~= LOST then return reply, err end
    local count, why = restore_once(self)
    if not count then return nil, why end
  end
  return nil, core.err("lost", "Redis loses the leaderboard again and again",
    { retryable = true })
end

-- ---- batches

local function new_batch() return { players = {}, values = {} } end

local combine = {
  sum = function(before, value) return before + value end,
  last = function(_, value) return value end,
}

local function best_of(order)
  return order == "desc" and math.max or math.min
end

local function send_call(self, batch, from, to)
  local words = {}
  for i = from, to do
    local player = batch.players[i]
    words[#words + 1] = player
    words[#words + 1] = ("%.17g"):format(batch.values[player])
  end
  local values, err = run(self, "score", core.encode(words))
  for i = from, to do
    local player = batch.players[i]
    local now = values and tonumber(values[i - from + 1])
    batch.values[player], batch.errs[player] = now or nil, err
  end
  return values, err
end

local function send(self, batch, before)
  if before then before:wait() end
  of(core.sleep(self.flush))
  if self.batch == batch then self.batch = nil end
  batch.errs = {}
  for from = 1, #batch.players, IN_CALL do
    local done, err = send_call(self, batch, from,
      math.min(from + IN_CALL - 1, #batch.players))
    if not done then self.last_error = err end
  end
  self.counts.batches = self.counts.batches + 1
  self.dirty[self] = true
end

local function put(self, batch, player, value)
  local before = batch.values[player]
  if before then
    self.counts.coalesced = self.counts.coalesced + 1
    batch.values[player] = self.combine(before, value)
    return
  end
  batch.players[#batch.players + 1] = player
  batch.values[player] = value
end

-- Gives a player a value, or adds it: the value that counts now; or nil, err.
function Board:score(player, value)
  player, value = player_of(player, 2), value_of(value, 2)
  local batch = self.batch
  if not batch then
    batch = new_batch()
    self.batch = batch
    self.sender = core.spawn(send, self, batch, self.sender)
    batch.task = self.sender
  end
  put(self, batch, player, value)
  self.counts.scores = self.counts.scores + 1
  local ok, failure = batch.task:wait()
  if not ok then error(failure, 0) end
  if batch.errs[player] then return nil, batch.errs[player] end
  local now = batch.values[player]
  if now ~= math.huge then return now end
  return nil, core.err("badarg", "the sum is no finite number; what was before stays")
end

-- ---- looks

local function entries_of(list, first)
  local entries = {}
  for i = 1, #list, 2 do
    entries[#entries + 1] = { rank = first + #entries, player = list[i],
                              value = tonumber(list[i + 1]) }
  end
  return entries
end

-- A player's rank, from 1 on, and value; nil when there is none; or nil, err.
function Board:rank(player)
  local reply, err = run(self, "rank", player_of(player, 2))
  if not reply then return nil, err end
  return reply[1], tonumber(reply[2])
end

-- The first n from an offset on: a list of rank, player, value; or nil, err.
function Board:top(n, offset)
  n = count_of("n", n == nil and 10 or n, 1, COUNT_MAX, 2)
  offset = count_of("offset", offset or 0, 0, 2 ^ 31, 2)
  local reply, err = run(self, "top", offset, offset + n - 1)
  if not reply then return nil, err end
  return entries_of(reply, offset + 1)
end

-- A player with up to n before and n after; nil when there is no such player.
function Board:around(player, n)
  player = player_of(player, 2)
  n = count_of("n", n == nil and 5 or n, 0, COUNT_MAX, 2)
  local reply, err = run(self, "around", player, n)
  if not reply then return nil, err end
  return entries_of(reply[2], reply[1])
end

-- Takes a player off: true, or false when there was none; or nil, err.
function Board:remove(player)
  player = player_of(player, 2)
  local count, err = run(self, "remove", player)
  if not count then return nil, err end
  if self.pg then
    local rows, why = self.pg:remove(self.season_name, { player })
    if not rows then return nil, why end
  end
  return count > 0
end

-- ---- snapshots

local function save_page(self, reply)
  local players, values, places = {}, {}, {}
  for i = 2, #reply, 3 do
    players[#players + 1] = reply[i]
    values[#players], places[#players] = tonumber(reply[i + 1]), tonumber(reply[i + 2])
  end
  if #players == 0 then return 0 end
  local count, err = self.pg:save(self.season_name, players, values, places)
  if not count then return nil, err end
  local gone, why = run(self, "those_gone", core.encode(players)) -- removed in between
  if not gone then return nil, why end
  if #gone > 0 then
    local removed, wrong = self.pg:remove(self.season_name, gone)
    if not removed then return nil, wrong end
  end
  return count
end

-- A server that was started again may have an older state than Postgres.
local function check_run(self)
  local now, err = self.store:server_run()
  if not now then return nil, err end
  local marked, why = self.store:marked_run()
  if why then return nil, why end
  if marked == now then return true end
  local count, wrong = restore_once(self)
  if not count then return nil, wrong end
  return true
end

local function snapshot(self)
  local is_checked, why = check_run(self)
  if not is_checked then return nil, why end
  local cursor, total = "0", 0
  repeat
    local reply, err = run(self, "page", cursor)
    if not reply then return nil, err end
    local count, wrong = save_page(self, reply)
    if not count then return nil, wrong end
    cursor, total = reply[1], total + count
  until cursor == "0"
  return total
end

local function note_snapshot(self, count, err)
  if not count then
    self.dirty[self] = true
    self.last_error = err
    self.counts.snapshot_failures = self.counts.snapshot_failures + 1
    return nil, err
  end
  self.counts.snapshots = self.counts.snapshots + 1
  self.counts.saved = self.counts.saved + count
  return count
end

-- Writes to Postgres what has changed: how many rows; or nil, err.
function Board:snapshot()
  if not self.pg then error("this leaderboard has no db", 2) end
  self.dirty[self] = nil
  return note_snapshot(self, snapshot(self))
end

-- Gives Redis what Postgres has and Redis has not: how many players were looked at; or
-- nil, err.
function Board:restore()
  if not self.pg then error("this leaderboard has no db", 2) end
  local count, err = restore_once(self)
  return count, err
end

local function snapshot_if_due(self, seconds)
  local is_ours, err = self.store:claim(seconds * CLAIMED)
  if is_ours then
    local count, why = self:snapshot()
    err = not count and why or nil
  end
  if err then
    core.log("warn", "a leaderboard's snapshot failed", { name = self.name,
      season = self.season_name, error = tostring(err) })
  end
end

local function snapshot_all(dirty, seconds)
  local boards = {}
  for board in pairs(dirty) do boards[#boards + 1] = board end
  for _, board in ipairs(boards) do snapshot_if_due(board, seconds) end
end

-- ---- boards

local function new_counts()
  return { scores = 0, coalesced = 0, batches = 0, snapshots = 0, saved = 0,
           snapshot_failures = 0, restores = 0, restored = 0 }
end

-- A board of its own for each season, "" that without one.
local function board_of(shared, season)
  local prefix = season == "" and shared.name or shared.name .. ":" .. season
  return setmetatable({
    shared = shared, name = shared.name, season_name = season, pg = shared.pg,
    combine = shared.combine, flush = shared.flush, dirty = shared.dirty,
    counts = new_counts(), schema = shared.pg and shared.pg.schema,
    store = leaderboard_redis.new(shared.redis, shared.scripts, prefix, shared),
  }, Board)
end

-- The same leaderboard of a season, which begins empty.
function Board:season(name)
  if type(name) ~= "string" or name == "" or #name > SEASON_BYTES_MAX
    or name:find "[^%w_.%-]" then
    error(("season: a name of up to %d letters, digits and _.- expected, got %s"):format(
      SEASON_BYTES_MAX, tostring(name)), 2)
  end
  local boards = self.shared.boards
  local board = boards[name] or board_of(self.shared, name)
  boards[name] = board
  return board
end

-- Makes the table where there is none: true; or nil, err.
function Board:create()
  if not self.pg then error("this leaderboard has no db", 2) end
  local done, err = self.pg:create()
  return done, err
end

function Board:stats()
  local stats = { name = self.name, season = self.season_name,
                  is_dirty = self.dirty[self] or false, last_error = self.last_error }
  for name, count in pairs(self.counts) do stats[name] = count end
  return stats
end

local CHECKS = {
  redis = options.pool "redis", db = options.pool "postgres", name = options.name,
  mode = options.word_of { "best", "sum", "last" },
  order = options.word_of { "desc", "asc" },
  snapshot = options.seconds,
  flush = function(value)
    if value ~= 0 then return options.seconds(value) end
  end,
}

local leaderboard = {}

-- opts: redis, name, db, mode, order, flush and snapshot in seconds.
function leaderboard.new(opts)
  options.check(opts, CHECKS, 2)
  for _, name in ipairs { "redis", "name" } do
    if opts[name] == nil then
      error(("option %s: %s expected, got nil"):format(name, CHECKS[name]()), 2)
    end
  end
  if opts.snapshot and not opts.db then error("option snapshot needs db", 2) end
  local order, mode = opts.order or "desc", opts.mode or "best"
  local shared = {
    name = opts.name, redis = opts.redis, order = order, mode = mode,
    flush = opts.flush or 0, has_db = opts.db ~= nil,
    combine = combine[mode] or best_of(order),
    pg = opts.db and leaderboard_pg.new(opts.db, opts.name),
    scripts = leaderboard_redis.scripts(opts.redis),
    boards = setmetatable({}, { __mode = "v" }), dirty = {},
  }
  if opts.snapshot then
    Task.every(opts.snapshot, function() snapshot_all(shared.dirty, opts.snapshot) end)
  end
  return board_of(shared, "")
end

return leaderboard
