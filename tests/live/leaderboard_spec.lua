-- Leaderboards: ranks and ties, batches, seasons, snapshots and what is made of them.

local core = require "tidepool.core"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

local function raised(fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  return tostring(message)
end

-- "1 ada 5, 2 bob 3"
local function text_of(entries)
  local parts = {}
  for i, entry in ipairs(entries) do
    parts[i] = ("%d %s %g"):format(entry.rank, entry.player, entry.value)
  end
  return table.concat(parts, ", ")
end

local function score_all(board, list)
  for i = 1, #list, 2 do must(board:score(list[i], list[i + 1])) end
end

describe("A leaderboard", function()
  local cache

  setup(function() cache = support.redis { max_connections = 3 } end)

  before_each(function() must(cache:call "FLUSHALL") end)

  local function open(opts)
    opts.redis, opts.name = cache, "board"
    return tide.leaderboard(opts)
  end

  it("has the best values, the highest first, and who had it earlier before", function()
    local board = open {}
    score_all(board, { "ada", 5, "bob", 9, "cy", 5, "dan", 1.5, "ada", 3, "ada", 5 })
    assert.are.equal("1 bob 9, 2 ada 5, 3 cy 5, 4 dan 1.5", text_of(must(board:top())))
    assert.are.same({ 2, 5 }, { board:rank "ada" })
    assert.are.equal(5, board:score("ada", 4))
    score_all(board, { "ada", 6, "cy", 6 })
    assert.are.equal("1 bob 9, 2 ada 6, 3 cy 6, 4 dan 1.5", text_of(must(board:top())))
  end)

  it("has the lowest first when asked, with ties as before", function()
    local board = open { order = "asc" }
    score_all(board, { "ada", 5, "bob", 9, "cy", 5, "bob", 2, "cy", 7, "dan", -1 })
    assert.are.equal("1 dan -1, 2 bob 2, 3 ada 5, 4 cy 5", text_of(must(board:top())))
    assert.are.same({ 4, 5 }, { board:rank "cy" })
  end)

  it("adds values up, or has the last", function()
    local sum = open { mode = "sum" }
    score_all(sum, { "ada", 5, "ada", -2, "bob", 3, "bob", 0 })
    assert.are.equal("1 ada 3, 2 bob 3", text_of(must(sum:top())))
    assert.are.equal(2 ^ 53, sum:score("big", 2 ^ 53))
    local done, err = sum:score("big", 1.7e308)
    assert.are.equal(1.7e308, done, err)
    done, err = sum:score("big", 1.7e308)
    assert.are.same({ nil, "badarg" }, { done, err.code })
    must(cache:call "FLUSHALL")
    local last = open { mode = "last" }
    score_all(last, { "ada", 5, "bob", 4, "ada", 1 })
    assert.are.equal("1 bob 4, 2 ada 1", text_of(must(last:top())))
  end)

  it("shows pages, and those around a player", function()
    local board = open {}
    for i = 1, 20 do must(board:score("p" .. i, i)) end
    assert.are.equal("3 p18 18, 4 p17 17", text_of(must(board:top(2, 2))))
    assert.are.equal("1 p20 20, 2 p19 19", text_of(must(board:around("p20", 1))))
    assert.are.equal("9 p12 12, 10 p11 11, 11 p10 10",
      text_of(must(board:around("p11", 1))))
    assert.are.equal("20 p1 1", text_of(must(board:around("p1", 0))))
    assert.are.same({}, { board:around "nobody" })
    assert.are.same({}, { board:rank "nobody" })
    assert.are.same({}, board:top(5, 20))
    assert.is_true(board:remove "p20")
    assert.is_false(board:remove "p20")
    assert.are.equal("1 p19 19", text_of(must(board:top(1))))
  end)

  it("keeps names with colons and letters of all kinds, and numbers", function()
    local board = open {}
    score_all(board, { "a:b:c", 3, "Zo\195\171", 2, 42, 1 })
    assert.are.equal("1 a:b:c 3, 2 Zo\195\171 2, 3 42 1", text_of(must(board:top())))
    assert.are.same({ 3, 1 }, { board:rank(42) })
  end)

  it("sends what is set at the same time as one batch", function()
    local board, jobs = open { mode = "sum" }, {}
    must(cache:call("CONFIG", "RESETSTAT"))
    for i = 1, 1000 do
      jobs[i] = function() return board:score("p" .. i % 600, 1) end
    end
    local values = must(tide.all(jobs))
    assert.are.same({ 2, 1 }, { values[1], values[500] })
    local stats = board:stats()
    assert.are.same({ 1000, 400, 1 }, { stats.scores, stats.coalesced, stats.batches })
    local text = must(cache:call("INFO", "commandstats"))
    local calls = tonumber(text:match "cmdstat_eval:calls=(%d+)")
      + tonumber(text:match "cmdstat_evalsha:calls=(%d+)" or 0)
    assert.are.equal(2, calls)
  end)

  it("has the last value of a batch, and batches in their order", function()
    local board, last, tasks = open { mode = "last", flush = 0.001 }, 0, {}
    eventually("five batches are done", function()
      last = last + 1
      local value = last
      tasks[value] = tide.spawn(function() return board:score("ada", value) end)
      return board:stats().batches >= 5
    end)
    for _, task in ipairs(tasks) do must(task:wait()) end
    assert.are.same({ 1, last }, { board:rank "ada" })
  end)

  it("has seasons, each of its own", function()
    local board = open {}
    local spring = board:season "2026-spring"
    must(board:score("ada", 1))
    must(spring:score("ada", 2))
    assert.are.same({ 1, 1 }, { board:rank "ada" })
    assert.are.same({ 1, 2 }, { spring:rank "ada" })
    assert.are.same({}, board:season "z":top())
    assert.are.equal("2026-spring", spring:stats().season)
    assert.is_true(spring == board:season "2026-spring")
  end)

  it("is nil, err when Redis refuses", function()
    local board = open {}
    must(cache:mset("board:z", "no sorted set", "board:h", "no hash"))
    for _, verb in ipairs { "score", "rank", "around", "remove" } do
      local done, err = board[verb](board, "ada", 1)
      assert.are.same({ nil, "server" }, { done, err.code }, verb)
    end
    local done, err = board:top()
    assert.are.same({ nil, "server" }, { done, err.code })
  end)

  it("refuses what is wrong, at the script's line", function()
    local board = open {}
    local function refused(fn)
      local message = raised(fn)
      assert.matches("leaderboard_spec.lua:%d+: ", message)
      return message
    end
    for _, name in ipairs { "", "a\0", "\255", ("x"):rep(201), true } do
      assert.matches("player: UTF", refused(function() board:score(name, 1) end))
    end
    for _, value in ipairs { 0 / 0, 1 / 0, "1" } do
      assert.matches("value: a finite number", refused(function()
        board:score("a", value)
      end))
    end
    assert.matches("n: a whole number", refused(function() board:top(0) end))
    assert.matches("n: a whole number", refused(function() board:around("a", -1) end))
    assert.matches("offset: a whole number", refused(function() board:top(1, -1) end))
    assert.matches("season: a name", refused(function() board:season "a:b" end))
    assert.matches("has no db", refused(function() board:snapshot() end))
    assert.matches("has no db", refused(function() board:restore() end))
    assert.matches("has no db", refused(function() board:create() end))
    assert.matches("option mode: \"best\", \"sum\" or \"last\"", refused(function()
      tide.leaderboard { redis = cache, name = "b", mode = "worst" }
    end))
    assert.matches("unknown option: tip", refused(function()
      tide.leaderboard { redis = cache, name = "b", tip = 1 }
    end))
    assert.matches("snapshot needs db", refused(function()
      tide.leaderboard { redis = cache, name = "b", snapshot = 1 }
    end))
    assert.matches("option name: ", refused(function()
      tide.leaderboard { redis = cache }
    end))
    assert.matches("option redis: ", refused(function()
      tide.leaderboard { name = "b" }
    end))
  end)
end)

describe("A leaderboard with snapshots", function()
  local cache, db

  setup(function()
    cache, db = support.redis { max_connections = 3 }, support.postgres {}
    must(tide.leaderboard({ redis = cache, db = db, name = "board" }):create())
  end)

  before_each(function()
    must(cache:call "FLUSHALL")
    must(db:exec "TRUNCATE board")
  end)

  local function open(opts)
    opts = opts or {}
    opts.redis, opts.db, opts.name = cache, db, "board"
    return tide.leaderboard(opts)
  end

  local function rows()
    return must(db:one "SELECT count(*) AS n FROM board").n
  end

  it("writes what changed, and the same twice changes nothing", function()
    local board = open()
    score_all(board, { "ada", 5, "bob", 9, "cy", 5 })
    assert.are.equal(3, must(board:snapshot()))
    assert.are.equal(0, must(board:snapshot()))
    must(board:score("ada", 6))
    assert.are.equal(1, must(board:snapshot()))
    assert.are.equal(6, must(db:one "SELECT value FROM board WHERE player = 'ada'").value)
  end)

  it("is made again when Redis lost it, ties and all", function()
    local board = open()
    for i = 1, 1200 do
      tide.spawn(function() board:score(("p%04d"):format(i), i % 10) end)
    end
    eventually("all are there", function() return cache:zcard "board:z" == 1200 end)
    local before = must(board:top(1000))
    assert.are.equal(1200, must(board:snapshot()))
    must(cache:call "FLUSHALL")
    assert.are.same(before, must(board:top(1000)))
    assert.are.same({ 1, 1200 }, { board:stats().restores - 1, board:stats().restored })
    must(cache:call "FLUSHALL")
    must(board:score("new", 9))
    local rank = board:rank "new"
    assert.are.equal(121, rank, "later than those that had it")
  end)

  it("does not bring back who was removed", function()
    local board = open()
    score_all(board, { "ada", 5, "bob", 9 })
    must(board:snapshot())
    assert.is_true(must(board:remove "bob"))
    assert.are.equal(1, rows())
    must(cache:call "FLUSHALL")
    assert.are.equal("1 ada 5", text_of(must(board:top())))
  end)

  it("has what Postgres has when Redis begins with an older state", function()
    for mode, wanted in pairs { best = "1 ada 8, 2 cy 7, 3 bob 6",
      last = "1 cy 7, 2 bob 6, 3 ada 6" } do
      must(cache:call "FLUSHALL")
      must(db:exec "TRUNCATE board")
      local board = open { mode = mode }
      score_all(board, { "ada", 8, "bob", 1 })
      local dumps = {}
      for _, key in ipairs { "board:z", "board:h", "board:n" } do
        dumps[key] = must(cache:dump(key))
      end
      score_all(board, { "bob", 6, "ada", 6, "cy", 7 })
      must(board:snapshot())
      for key, dump in pairs(dumps) do must(cache:restore(key, 0, dump, "REPLACE")) end
      must(cache:set("board:r", "another run"))
      must(board:snapshot())
      assert.are.equal(wanted, text_of(must(board:top())))
    end
  end)

  it("writes by itself, one process of several in an interval", function()
    local one, two = open { snapshot = 0.02 }, open { snapshot = 0.02 }
    local spring = two:season "spring"
    must(one:score("ada", 5))
    must(spring:score("bob", 6))
    eventually("both are written", function() return rows() == 2 end)
    eventually("it is noted", function()
      return not one:stats().is_dirty and not spring:stats().is_dirty
    end)
    assert.are.equal(1, one:stats().snapshots)
    must(one:score("cy", 1))
    eventually("it is written", function() return rows() == 3 end)
  end)

  it("tells of a snapshot that failed, and makes it later", function()
    local board = open()
    must(board:score("ada", 5))
    must(db:exec "ALTER TABLE board RENAME TO elsewhere")
    local done, err = board:snapshot()
    must(db:exec "ALTER TABLE elsewhere RENAME TO board")
    assert.are.same({ nil, "42P01" }, { done, err.sqlstate })
    assert.are.same({ true, 1 },
      { board:stats().is_dirty, board:stats().snapshot_failures })
    assert.are.equal(1, must(board:snapshot()))
    assert.is_false(board:stats().is_dirty)
    assert.is_true(core.is_err(board:stats().last_error))
  end)
end)
