-- postgres_bench.lua - one-row statements through the pool, against pgbench.

local bench = require "bench"
local core = require "tidepool.core"

local SELECT = "SELECT id, randomnumber FROM world WHERE id = "
local UPDATE = "UPDATE world SET randomnumber = randomnumber + 1 WHERE id = "
local GROUP = 64
local LANES = 3

local function random_id() return math.random(bench.ROWS) end

-- ---- the sides

local function pgbench_program() return bench.postgres().bin .. "/pgbench" end

local function pgbench(statement, clients, url)
  local script = bench.write_file(bench.path "pgbench.sql",
    ("\\set id random(1, %d)\n%s:id\n"):format(bench.ROWS, statement))
  return function(seconds)
    local output = bench.output { pgbench_program(), "-n", "-M", "prepared",
      "-c", tostring(clients), "-j", tostring(math.min(clients, 2)),
      "-T", tostring(seconds), "-f", script, url }
    return tonumber(output:match "tps = ([%d.]+)")
  end
end

local function through_pool(db, tasks)
  return function(seconds)
    return bench.tasks(tasks, seconds, function()
      assert(db:one(SELECT .. "$1", random_id()))
    end)
  end
end

local function on_leases(db, tasks)
  return function(seconds)
    return bench.tasks(tasks, seconds, function(conn)
      assert(conn:one(SELECT .. "$1", random_id()))
    end, function(work) assert(db:with(function(conn) work(conn) return true end)) end)
  end
end

local function limit(url)
  return function(seconds)
    return tonumber(bench.output { bench.program "group_limit", url, tostring(LANES),
      tostring(GROUP), tostring(seconds) })
  end
end

-- ---- the benches

local function side(name, run) return { name = name, unit = "1/s", run = run } end

local function select_by_key()
  local url = bench.postgres().url
  local db = bench.postgres_pool()
  local has_pgbench = core.stat(pgbench_program()) ~= nil
  local sides = {
    side("select_256", through_pool(db, 256)),
    side("select_15", through_pool(db, 15)),
    side("select_15_leased", on_leases(db, 15)),
    side("select_1", through_pool(db, 1)),
    side("select_limit", limit(url)),
  }
  if has_pgbench then
    sides[#sides + 1] = side("select_pgbench_15", pgbench(SELECT, 15, url))
    sides[#sides + 1] = side("select_pgbench_1", pgbench(SELECT, 1, url))
  end
  local rate = bench.compare(sides)
  db:close(1)
  bench.ratio("select_256_to_limit", rate.select_256 / rate.select_limit)
  if not has_pgbench then return bench.skip("select_to_pgbench", "no pgbench") end
  for _, name in ipairs { "select_256", "select_15", "select_15_leased" } do
    bench.ratio(name .. "_to_pgbench", rate[name] / rate.select_pgbench_15)
  end
  bench.ratio("select_1_to_pgbench", rate.select_1 / rate.select_pgbench_1)
end

local function update_by_key(name, url)
  local db = bench.postgres_pool(nil, url)
  local has_pgbench = core.stat(pgbench_program()) ~= nil
  local sides = { side(name .. "_256", function(seconds)
    return bench.tasks(256, seconds, function()
      assert(db:exec(UPDATE .. "$1", random_id()))
    end)
  end) }
  if has_pgbench then
    sides[2] = side(name .. "_pgbench_15", pgbench(UPDATE, 15, url))
  end
  local rate = bench.compare(sides)
  db:close(1)
  if not has_pgbench then return bench.skip(name .. "_to_pgbench", "no pgbench") end
  bench.ratio(name .. "_256_to_pgbench",
    rate[name .. "_256"] / rate[name .. "_pgbench_15"])
end

local function without_waiting(url)
  return url .. (url:find("?", 1, true) and "&" or "?")
    .. "options=-csynchronous_commit%3Doff"
end

return {
  { name = "select", run = select_by_key },
  { name = "update", run = function()
    update_by_key("update", bench.postgres().url)
  end },
  { name = "update_async", run = function()
    update_by_key("update_async", without_waiting(bench.postgres().url))
  end },
}
