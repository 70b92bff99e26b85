-- Failures are counted by their code: each once, whatever failed and however it is told.

local core = require "tidepool.core"
local metrics = require "tidepool.metrics"
local support = require "support"
local tide = require "tidepool"

local must, eventually = support.must, support.eventually

-- The codes of err, as the manual lists them.
local function manual_codes()
  local file = assert(io.open "lua/README.md")
  local text = file:read "*a"
  file:close()
  local codes = {}
  local list = text:match "| `ErrCode` | |\n|[-|]*\n(.-)\n\n"
  for code in list:gmatch "| `(%w+)` |" do codes[#codes + 1] = code end
  return codes, text
end

local function sorted(list)
  table.sort(list)
  return list
end

local function keys(values)
  local list = {}
  for key in pairs(values) do list[#list + 1] = key end
  return sorted(list)
end

-- What was counted while fn ran, without the zeros.
local function counted(pool, fn)
  local before, more = pool:stats().errors, {}
  fn()
  local now = pool:stats().errors
  for code, count in pairs(now) do
    if count ~= before[code] then more[code] = count - before[code] end
  end
  return more
end

local function fails(code, value, err)
  assert.is_nil(value)
  assert.are.equal(code, err and err.code, tostring(err))
end

describe("The list of codes", function()
  it("is the same in C, in the manual, in stats and in the metrics", function()
    local pool = support.postgres()
    local codes = sorted(core.err_codes())
    assert.are.same(codes, sorted((manual_codes())))
    local _, text = manual_codes()
    local documented = {}
    for code in text:match("PoolErrors`[^\n]*\n(.-)\n%* "):gmatch "  %* `(%w+): " do
      documented[#documented + 1] = code
    end
    assert.are.same(codes, sorted(documented))
    assert.are.same(codes, keys(pool:stats().errors))
    local labels = {}
    local page = metrics.page({ pool:stats() }, nil, core.task_counts())
    local sample = 'tidepool_pool_errors_total{pool_name="(.-)",code="(.-)"}'
    for name, code in page:gmatch(sample) do
      assert.are.equal(pool:name(), name)
      labels[#labels + 1] = code
    end
    assert.are.same(codes, sorted(labels))
    pool:close()
  end)

  it("has every code that Lua modules give", function()
    local known = {}
    for _, code in ipairs(core.err_codes()) do known[code] = true end
    local seen = 0
    for _, name in ipairs(assert(core.list_dir "lua/tidepool")) do
      if name:find "%.lua$" then
        local file = assert(io.open("lua/tidepool/" .. name))
        local text = file:read "*a"
        file:close()
        for call, code in text:gmatch '([%w_]+)%("(%l+)",%s' do
          if call == "err" or call == "raw_fail" then
            assert.is_true(known[code] == true, name .. ": " .. code)
            seen = seen + 1
          end
        end
      end
    end
    assert.is_true(seen > 5)
  end)
end)

describe("A failure on Postgres", function()
  local pool

  before_each(function()
    pool = support.postgres { max_connections = 2, max_waiters = 1 }
    must(pool:exec "SELECT 1")
  end)

  after_each(function() pool:close(1) end)

  it("is counted once for a statement, on a lane, a lease, in a transaction", function()
    assert.are.same({ server = 3 }, counted(pool, function()
      for _ = 1, 3 do fails("server", pool:one "SELECT 1 / (SELECT 0)") end
    end))
    assert.are.same({ server = 1 }, counted(pool, function()
      must(pool:with(function(conn)
        fails("server", conn:exec "nonsense")
        return true
      end))
    end))
    assert.are.same({ server = 1 }, counted(pool, function()
      fails("server", pool:transaction(function(tx)
        tx:exec "nonsense"
        return "it went on"
      end))
    end))
  end)

  it("is counted once in each and batch, and all of a batch", function()
    assert.are.same({ server = 1 }, counted(pool, function()
      fails("server", pool:each("SELECT 1 / (n - 3) FROM generate_series(1, 5) AS n",
        function() end))
    end))
    assert.are.same({ server = 1 }, counted(pool, function()
      fails("server", pool:batch { { "nonsense" }, { "SELECT 1" }, atomic = true })
    end))
  end)

  it("is counted when its time is up, in line and at work", function()
    assert.are.same({ timeout = 1 }, counted(pool, function()
      fails("timeout", pool:one { "SELECT pg_sleep(9)", timeout_ms = 20, share = false })
    end))
    local one, two = support.hold(pool), support.hold(pool)
    assert.are.same({ timeout = 1 }, counted(pool, function()
      fails("timeout", pool:acquire { timeout_ms = 5 })
    end))
    one()
    two()
  end)

  it("is counted when it is refused: the line is full, none can come free", function()
    local one, two = support.hold(pool), support.hold(pool)
    local waiter = tide.spawn(function() return pool:with(function() return true end) end)
    eventually("one waits", function() return pool:stats().waiting == 1 end)
    assert.are.same({ busy = 1 }, counted(pool, function()
      fails("busy", pool:acquire())
    end))
    one()
    two()
    waiter:wait()
    must(pool:set { max_connections = 1 })
    assert.are.same({ busy = 1 }, counted(pool, function()
      must(pool:with(function()
        fails("busy", pool:acquire())
        return true
      end))
    end))
  end)

  it("is counted when a task is cancelled: at work, in line, in a COPY", function()
    assert.are.same({ cancelled = 1 }, counted(pool, function()
      fails("timeout", tide.timeout(0.02, pool.one, pool, "SELECT pg_sleep(9)"))
    end))
    assert.are.same({ cancelled = 1 }, counted(pool, function()
      fails("timeout", tide.timeout(0.02, pool.copy_out, pool,
        "COPY (SELECT pg_sleep(9)) TO STDOUT", function() end))
    end))
    support.given_back(pool)
    local one, two = support.hold(pool), support.hold(pool)
    assert.are.same({ cancelled = 1 }, counted(pool, function()
      fails("timeout", tide.timeout(0.02, pool.with, pool, function() end))
    end))
    one()
    two()
  end)

  it("is counted when the session ends under a statement", function()
    local other = support.postgres { max_connections = 1 }
    local told
    local more = counted(pool, function()
      must(pool:with(function(conn)
        local task = tide.spawn(other.one, other, "SELECT pg_terminate_backend($1::int)",
          conn:pid())
        local _, err = conn:one "SELECT pg_sleep(60)"
        told = err.code
        task:wait()
        return true
      end))
    end)
    assert.are.same({ [told] = 1 }, more)
    other:close()
  end)

  it("is counted for each call on a connection that was taken back", function()
    must(pool:set { leak_threshold = 0, leak_reclaim = 0.02 })
    local conn = must(pool:acquire())
    eventually("it is taken back", function()
      return pool:stats().counters.reclaims == 1
    end)
    assert.are.same({ closed = 2 }, counted(pool, function()
      fails("closed", conn:one "SELECT 1")
      fails("closed", conn:copy_in("COPY t FROM STDIN", "1\n"))
    end))
    conn:release()
  end)

  it("is counted once in COPY, and not for what the script gave up", function()
    must(pool:exec "CREATE TABLE IF NOT EXISTS copied (n int)")
    assert.are.same({ server = 1 }, counted(pool, function()
      fails("server", pool:copy_in("COPY copied FROM STDIN", "x\n"))
    end))
    assert.are.same({ badarg = 2 }, counted(pool, function()
      fails("badarg", pool:copy_in("COPY copied TO STDOUT", "1\n"))
      fails("badarg", pool:copy_out("COPY copied FROM STDIN", function() end))
    end))
    assert.are.same({}, counted(pool, function()
      local mine = core.err("internal", "the source's own")
      fails("internal", pool:copy_in("COPY copied FROM STDIN",
        function() return nil, mine end))
      fails("internal", pool:copy_out("COPY (SELECT generate_series(1, 9)) TO STDOUT",
        function() return nil, mine end))
    end))
  end)

  it("is counted for settings and subscriptions that cannot be", function()
    assert.are.same({ badarg = 2 }, counted(pool, function()
      fails("badarg", pool:set { max_connections = 0 })
      must(pool:set { max_connections = 1 })
      fails("badarg", pool:listen("orders", function() end))
    end))
  end)

  it("is not counted for a mistake of the program's, which raises", function()
    assert.are.same({}, counted(pool, function()
      assert.is_false(pcall(pool.query, pool, "SELECT $1", 1, 2))
      assert.is_false(pcall(pool.query, pool))
    end))
  end)

  it("is counted when there is no server", function()
    local away = support.postgres({ max_connections = 1 },
      { url = "postgres://127.0.0.1:1/none", raw_url = true })
    assert.are.same({ refused = 2 }, counted(away, function()
      fails("refused", away:one "SELECT 1")
      fails("refused", away:acquire())
    end))
    away:close()
  end)
end)

describe("A failure on Redis", function()
  local pool

  before_each(function() pool = support.redis { max_connections = 2 } end)

  after_each(function() pool:close(1) end)

  it("is counted once for a command, in pipelines for each, in multi for all", function()
    pool:set("text", "a")
    assert.are.same({ server = 1 }, counted(pool, function()
      fails("server", pool:incr "text")
    end))
    assert.are.same({ server = 2 }, counted(pool, function()
      must(pool:pipeline(function(p)
        p:incr "text"
        p:get "text"
        p:lpush("text", 1)
      end))
    end))
    assert.are.same({ server = 1 }, counted(pool, function()
      fails("server", pool:multi(function(m)
        m:get "text"
        m:call("NONSENSE")
        m:get "text"
        m:call("NONSENSE")
      end))
    end))
  end)

  it("is not counted where another try answers it: a script, a group", function()
    assert.are.same({}, counted(pool, function()
      local twice = pool:script "return ARGV[1] * 2"
      assert.are.equal(4, twice({}, 2))
      must(pool:call("SCRIPT", "FLUSH"))
      assert.are.equal(6, twice({}, 3))
      must(pool:call("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"))
    end))
    assert.are.same({ server = 1 }, counted(pool, function()
      fails("server", pool:call("EVALSHA", ("0"):rep(40), 0))
    end))
  end)

  it("is counted when its time is up, and when it is cancelled", function()
    must(pool:set { statement_timeout = 0.02 })
    local let_go = support.hold(pool)
    must(pool:set { max_connections = 1 })
    assert.are.same({ timeout = 1 }, counted(pool, function()
      fails("timeout", pool:blpop("nothing", 9))
    end))
    must(pool:set { statement_timeout = 9 })
    let_go()
    assert.are.same({ cancelled = 1 }, counted(pool, function()
      fails("timeout", tide.timeout(0.02, pool.blpop, pool, "nothing", 9))
    end))
  end)

  it("is counted when the connection is lost", function()
    local other = support.redis { max_connections = 1 }
    assert.are.same({ lost = 1 }, counted(pool, function()
      must(pool:with(function(conn)
        local id = must(conn:call("CLIENT", "ID"))
        local killer = tide.spawn(other.call, other, "CLIENT", "KILL", "ID", id)
        fails("lost", conn:blpop("nothing", 9))
        killer:wait()
        return true
      end))
    end))
    other:close()
  end)
end)
