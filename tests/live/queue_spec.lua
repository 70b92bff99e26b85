-- tide.queue: jobs in Postgres.

local core = require "tidepool.core"
local queue_table = require "tidepool.queue_table"
local sandbox = require "tidepool.sandbox"
local servers = require "tidepool.servers"
local standing = require "tidepool.standing"
local support = require "support"
local tide = require "tidepool"

local at_end, eventually, must = support.at_end, support.eventually, support.must

describe("A queue", function()
  local db
  local number = 0

  setup(function()
    db = support.postgres { max_connections = 6 }
    must(tide.queue({ db = db, name = "any" }):create())
  end)

  after_each(support.run_ends)

  local function new(pool)
    number = number + 1
    return tide.queue { db = pool or db, name = "queue" .. number }
  end

  -- A consumer that ends with the test, and what it saw.
  local function consume(queue, opts, fn)
    local seen = {}
    local consumer = queue:consume(function(job)
      seen[#seen + 1] = job
      if fn then return fn(job) end
    end, opts)
    at_end(function()
      consumer:close()
      consumer:wait()
    end)
    return consumer, seen
  end

  local function is_empty(queue)
    local stats = must(queue:stats())
    return stats.ready + stats.later + stats.dead == 0
  end

  it("gives each job to one consumer, and then it is gone", function()
    local queue, count = new(), {}
    local function note(job) count[job.payload.n] = (count[job.payload.n] or 0) + 1 end
    for i = 1, 100 do must(queue:add(nil, { n = i })) end
    for _ = 1, 3 do consume(queue, { tasks = 5 }, note) end
    eventually("all is done", function() return is_empty(queue) end)
    for i = 1, 100 do assert.are.equal(1, count[i]) end
  end)

  it("has a job when its transaction commits, and only then", function()
    local queue = new()
    local _, seen = consume(queue)
    local rolled_back = { db:transaction(function(tx)
      must(queue:add(tx, "never"))
      error(core.err("server", "undone"))
    end) }
    assert.is_nil(rolled_back[1])
    must(db:transaction(function(tx)
      must(queue:add(tx, "kept"))
      assert.are.equal(0, #seen)
      return true
    end))
    eventually("it is done", function() return #seen == 1 and is_empty(queue) end)
    assert.are.equal("kept", seen[1].payload)
    assert.are.equal(1, seen[1].attempts)
  end)

  it("wakes its consumers at once", function()
    local queue = new()
    local consumer, seen = consume(queue)
    eventually("it hears", function() return consumer.sub end)
    tide.sleep(0.1)
    local began = core.now()
    must(queue:add(nil, 1))
    eventually("it came", function() return #seen == 1 end)
    assert.is_true(core.now() - began < 2.5)
  end)

  it("keeps a job for as long as it is told to", function()
    local queue = new()
    local _, seen = consume(queue)
    local began = core.now()
    must(queue:add(nil, 1, { delay = 0.3 }))
    eventually("it came", function() return #seen == 1 end)
    assert.is_true(core.now() - began >= 0.29)
  end)

  it("works on jobs of one key in their order, also when one fails", function()
    local queue, order, running = new(), {}, 0
    for i = 1, 12 do must(queue:add(nil, i, { key = "k" .. i % 2 })) end
    consume(queue, { tasks = 6, backoff = 0.02 }, function(job)
      running = running + 1
      assert.is_true(running <= 2)
      tide.sleep(0.005)
      running = running - 1
      if job.payload == 3 and job.attempts < 3 then return nil, "not yet" end
      order[job.key] = order[job.key] or {}
      table.insert(order[job.key], job.payload)
    end)
    eventually("all is done", function() return is_empty(queue) end)
    assert.same({ k0 = { 2, 4, 6, 8, 10, 12 }, k1 = { 1, 3, 5, 7, 9, 11 } }, order)
  end)

  it("tries a job again, and gives it up after its retries", function()
    local queue = new()
    must(queue:add(nil, "bad"))
    local consumer, seen = consume(queue, { retries = 2, backoff = 0.01 }, function()
      error "broken"
    end)
    eventually("it is dead", function() return must(queue:stats()).dead == 1 end)
    eventually("that is counted", function() return consumer:stats().dead == 1 end)
    assert.are.equal(3, #seen)
    assert.are.equal(3, consumer:stats().failed)
    local row = must(db:one("SELECT error FROM tidepool_jobs WHERE queue = $1",
      queue.name))
    assert.truthy(row.error:find("broken", 1, true))
  end)

  it("gives a job whose process is gone to another, not one that takes long", function()
    local queue = new()
    must(queue:add(nil, "gone"))
    must(db:exec([[UPDATE tidepool_jobs SET attempts = 1,
      due = clock_timestamp() + interval '0.2 s' WHERE queue = $1]], queue.name))
    local _, seen = consume(queue, { visibility = 0.3 }, function() tide.sleep(1) end)
    local _, others = consume(queue, { visibility = 0.3 }, function() tide.sleep(1) end)
    eventually("it is done", function() return is_empty(queue) end)
    assert.are.equal(1, #seen + #others)
    assert.are.equal(2, (seen[1] or others[1]).attempts)
  end)

  it("is kept by who has taken a job last", function()
    local queue = new()
    must(queue:add(nil, "slow"))
    local first = must(queue_table.take(db, queue.name, 1, 30))[1]
    must(db:exec("UPDATE tidepool_jobs SET due = clock_timestamp() WHERE queue = $1",
      queue.name))
    local second = must(queue_table.take(db, queue.name, 1, 30))[1]
    assert.are.equal(0, must(queue_table.keep(db, queue.name, { first }, 30)))
    assert.are.equal(1, must(queue_table.keep(db, queue.name, { second }, 30)))
  end)

  it("buries what was taken again and again by processes that ended", function()
    local queue = new()
    must(queue:add(nil, "deadly"))
    must(db:exec("UPDATE tidepool_jobs SET attempts = 3 WHERE queue = $1", queue.name))
    local consumer, seen = consume(queue, { retries = 2 })
    eventually("it is dead", function() return consumer:stats().dead == 1 end)
    assert.are.equal(0, #seen)
  end)

  it("goes on when the server was killed and started again", function()
    local own = must(servers.postgres { directory = support.directory .. "/queue-away" })
    at_end(function() own:stop() end)
    local pool = support.postgres({ max_connections = 4, acquire_timeout = 1 },
      { url = own.url, raw_url = true })
    local queue = new(pool)
    must(queue:create())
    for i = 1, 30 do must(queue:add(nil, i)) end
    local count = {}
    local consumer = consume(queue, { tasks = 2, visibility = 0.5 }, function(job)
      count[job.payload] = (count[job.payload] or 0) + 1
      tide.sleep(0.01)
    end)
    eventually("it works", function() return consumer:stats().handled > 3 end)
    own:kill()
    eventually("it is held up", function() return consumer:stats().errors > 0 end)
    must(own:restart())
    eventually("all is done", function()
      local stats = queue:stats()
      return stats and stats.ready + stats.later == 0
    end, 30)
    for i = 1, 30 do assert.is_true(count[i] >= 1) end
    consumer:close()
    consumer:wait()
    pool:close(1)
  end)

  it("ends with its script, and finishes what runs", function()
    local path = support.directory .. "/queue.lua"
    local file = must(io.open(path, "w"))
    file:write [[
      local tide = require "tidepool"
      done = {}
      queue = tide.queue { db = tide.postgres "jobs", name = "of_script" }
      consumer = queue:consume(function(job)
        tide.sleep(0.1)
        done[1] = job.payload
      end)
    ]]
    file:close()
    tide._set_pool("postgres", "jobs", db)
    local generation = must(sandbox.load_trusted(path))
    local own = generation.own
    must(own.queue:add(nil, "first"))
    eventually("it runs", function() return own.consumer:stats().running == 1 end)
    standing.retire(generation.env)
    must(own.queue:add(nil, "second"))
    assert.is_true(own.consumer:wait())
    assert.same({ "first" }, own.done)
    assert.are.equal(1, must(own.queue:stats()).ready)
    standing.finish(generation.env)
  end)

  it("raises for a wrong option", function()
    local queue = new()
    local function raises(message, fn, ...)
      local ok, failure = pcall(fn, ...)
      assert.is_false(ok)
      assert.truthy(tostring(failure):find(message, 1, true), tostring(failure))
    end
    raises("unknown option: later", queue.add, queue, nil, 1, { later = 1 })
    raises("a payload expected", queue.add, queue, nil, nil)
    raises("a transaction, or nil, expected, got table", queue.add, queue, {}, 1)
    raises("tasks: a whole number", queue.consume, queue, print, { tasks = 0 })
    raises("name: a text of at most 48 bytes expected", tide.queue, { db = db })
    raises("db: a Postgres pool expected", tide.queue, { name = "a" })
  end)
end)
