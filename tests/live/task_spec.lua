-- Tasks: spawning, waiting, cancelling, and yielding from everywhere.

local core = require "tidepool.core"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

describe("tasks", function()
  local db

  setup(function() db = support.postgres { max_connections = 4 } end)

  local function select_n(n)
    return must(db:one("SELECT $1::int AS n", n)).n
  end

  describe("spawn and wait", function()
    it("give the results, nils included", function()
      local task = tide.spawn(function(a, b) return a + b, nil, "x" end, 1, 2)
      local ok, sum, none, text = task:wait()
      assert.are.same({ true, 3, nil, "x" }, { ok, sum, none, text })
      assert.is_true(task:done())
    end)

    it("run after the spawner, in order", function()
      local order, tasks = {}, {}
      for i = 1, 5 do tasks[i] = tide.spawn(function() order[#order + 1] = i end) end
      assert.are.same({}, order)
      for i = 1, 5 do tasks[i]:wait() end
      assert.are.same({ 1, 2, 3, 4, 5 }, order)
    end)

    it("give the error as it was raised", function()
      local raised = { mine = true }
      local ok, err = tide.spawn(function() error(raised, 0) end):wait()
      assert.is_false(ok)
      assert.are.equal(raised, err)
    end)

    it("are forgotten with all they had, also with their own handle", function()
      local seen = setmetatable({}, { __mode = "k" })
      for i = 1, 20 do
        local own = {}
        own.task = tide.spawn(function()
          tide.sleep(0)
          if i > 10 then tide.sleep(3600) end
          error("no " .. #own, 0)
        end)
        seen[own] = true
        tide.sleep(0.001)
        if i > 10 then own.task:cancel() end
        local ok, err = own.task:wait()
        assert.is_false(ok)
        assert.is_true(i > 10 or err == "no 0")
      end
      tide.sleep(0)
      support.eventually("all are collected", function()
        collectgarbage()
        local count = 0
        for _ in pairs(seen) do count = count + 1 end
        return count <= 2 -- the last one's, on this stack
      end)
    end)

    -- What runs at the end of a task makes garbage, and so may be where the collector
    -- comes to the handle that nobody has any more.
    it("may lose their handle while they end", function()
      local ended, runs = 0, 20
      local function begin(raises)
        tide.spawn(function()
          core.at_task_end(function()
            collectgarbage()
            ended = ended + 1
          end)
          tide.sleep(0)
          if raises then error(core.err("cancelled", "on purpose"), 0) end
        end)
      end
      for i = 1, runs do begin(i % 2 == 0) end
      eventually("all have ended", function() return ended == runs end)
      local order = {}
      for i = 1, runs do tide.spawn(function() order[#order + 1] = i end) end
      eventually("each of the next ones has run", function() return #order == runs end)
      for i = 1, runs do assert.are.equal(i, order[i]) end
    end)

    it("can be waited for twice and by several", function()
      local gate = support.gate()
      local task = tide.spawn(function()
        gate.wait()
        return "once"
      end)
      local others = {}
      for i = 1, 3 do others[i] = tide.spawn(function()
        return select(2, task:wait())
      end) end
      gate.open()
      for i = 1, 3 do assert.are.equal("once", select(2, others[i]:wait())) end
      assert.are.equal("once", select(2, task:wait()))
    end)

    it("need a function", function()
      assert.has_error(function() tide.spawn() end)
      assert.has_error(function() tide.spawn "text" end)
    end)

    it("ten thousand of them end", function()
      local ended = 0
      for _ = 1, 10000 do
        tide.spawn(function()
          tide.sleep(0)
          ended = ended + 1
        end)
      end
      eventually("all have ended", function() return ended == 10000 end)
    end)
  end)

  describe("sleep", function()
    it("waits at least as long as asked, others run meanwhile", function()
      local ran = false
      tide.spawn(function() ran = true end)
      local began = core.now()
      tide.sleep(0.02)
      assert.is_true(core.now() - began >= 0.02)
      assert.is_true(ran)
    end)

    it("raises for what is no time", function()
      assert.has_error(function() tide.sleep(-1) end)
      assert.has_error(function() tide.sleep "soon" end)
      assert.has_error(function() tide.sleep(0 / 0) end)
    end)
  end)

  describe("all", function()
    local function slow()
      tide.sleep(0.01)
      return "slow"
    end

    it("gives the results in order, of a list or of functions", function()
      local function two() return select_n(2) end
      local function fast() return "fast" end
      assert.are.same({ "slow", 2, "fast" }, tide.all { slow, two, fast })
      assert.are.same({ "slow", 2, "fast" }, { tide.all(slow, two, fast) })
    end)

    it("raises the error of a mistake again", function()
      local ok, err = pcall(tide.all, { slow, function() error("mine", 0) end })
      assert.is_false(ok)
      assert.are.equal("mine", err)
    end)

    it("of nothing gives nothing", function()
      assert.are.same({}, tide.all {})
    end)

    it("cancels the rest at the first failure of the world", function()
      local cancelled = false
      local results, err = tide.all {
        function()
          local ok, why = pcall(tide.sleep, 60)
          cancelled = not ok and why.code == "cancelled"
          error(why, 0)
        end,
        function() return must(db:one "SELECT 1 / 0") end,
      }
      assert.is_nil(results)
      assert.are.equal("22012", err.sqlstate)
      assert.is_true(cancelled)
    end)

    it("ends when its own task is cancelled, and so do its parts", function()
      local ended = 0
      local function part()
        local ok, err = pcall(tide.sleep, 60)
        ended = ended + 1
        if not ok then error(err, 0) end
      end
      local task = tide.spawn(function() return tide.all { part, part } end)
      tide.sleep(0)
      tide.sleep(0)
      task:cancel()
      assert.is_false((task:wait()))
      eventually("both have ended", function() return ended == 2 end)
    end)
  end)

  describe("race", function()
    it("gives the first result and cancels the others", function()
      local loser_ended = false
      local winner = tide.race {
        function()
          pcall(tide.sleep, 60)
          loser_ended = true
          return "loser"
        end,
        function()
          tide.sleep(0.001)
          return "winner"
        end,
      }
      assert.are.equal("winner", winner)
      eventually("the loser has ended", function() return loser_ended end)
    end)
  end)

  describe("timeout", function()
    it("gives what the function gives in time", function()
      local a, b = tide.timeout(5, function() return "a", select_n(2) end)
      assert.are.same({ "a", 2 }, { a, b })
    end)

    it("gives nil and timeout when it is not in time", function()
      local ended
      local value, err = tide.timeout(0.02, function()
        local ok, why = pcall(tide.sleep, 60)
        ended = why
        must(ok, why)
      end)
      assert.is_nil(value)
      assert.are.equal("timeout", err.code)
      eventually("it was cancelled", function() return ended end)
      assert.are.equal("cancelled", ended.code)
    end)

    it("lets an error through", function()
      local ok, err = pcall(tide.timeout, 5, function() error("mine", 0) end)
      assert.is_false(ok)
      assert.matches("mine", tostring(err))
    end)

    it("nests: the shorter one ends first", function()
      local outer, inner_err = tide.timeout(10, function()
        local _, err = tide.timeout(0.02, function() tide.sleep(60) end)
        return "outer goes on", err
      end)
      assert.are.equal("outer goes on", outer)
      assert.are.equal("timeout", inner_err.code)
    end)
  end)

  describe("every", function()
    it("runs again and again until it is cancelled", function()
      local runs = 0
      local timer = tide.every(0.002, function() runs = runs + 1 end)
      eventually("it ran five times", function() return runs >= 5 end)
      timer:cancel()
      local after = runs
      tide.sleep(0.02)
      assert.is_true(runs <= after + 1)
    end)

    it("goes on after a run that raised", function()
      local runs = 0
      local timer = tide.every(0.002, function()
        runs = runs + 1
        if runs == 1 then error(core.err("busy", "the first one fails"), 0) end
      end)
      eventually("it ran again", function() return runs >= 3 end)
      timer:cancel()
    end)
  end)

  describe("cancel", function()
    it("makes the call that waits raise `cancelled`, and every later one", function()
      local errors, reached = {}, false
      local task = tide.spawn(function()
        for i = 1, 3 do
          local _, err = pcall(tide.sleep, 60)
          errors[i] = err
        end
        local _, err = pcall(db.one, db, "SELECT 1")
        errors[4] = err
        reached = true
        tide.sleep(0)
      end)
      tide.sleep(0)
      task:cancel()
      local ok, err = task:wait()
      assert.is_false(ok)
      assert.are.equal("cancelled", err.code)
      assert.is_true(reached)
      for i = 1, 4 do assert.are.equal("cancelled", errors[i].code) end
    end)

    it("reaches a task that waits for another", function()
      local other = tide.spawn(function() tide.sleep(60) end)
      local task = tide.spawn(function() return "came back", other:wait() end)
      tide.sleep(0)
      task:cancel()
      local ok, err = task:wait()
      assert.is_false(ok)
      assert.are.equal("cancelled", err.code)
      other:cancel()
    end)

    it("of a task that has not begun makes its first call raise", function()
      local task = tide.spawn(function() tide.sleep(60) end)
      task:cancel()
      local ok, err = task:wait()
      assert.is_false(ok)
      assert.are.equal("cancelled", err.code)
    end)

    it("of a task that is done does nothing", function()
      local task = tide.spawn(function() return 1 end)
      task:wait()
      task:cancel()
      assert.are.same({ true, 1 }, { task:wait() })
    end)

    it("stops the statement that it waits for at the server", function()
      local task = tide.spawn(function() return db:one "SELECT pg_sleep(70)" end)
      eventually("it runs", function()
        return support.running(db, "%pg_sleep(70)%") == 1
      end)
      task:cancel()
      assert.is_false((task:wait()))
      eventually("it is stopped", function()
        return support.running(db, "%pg_sleep(70)%") == 0
      end)
    end)

    it("storms leave the pool whole", function()
      for _ = 1, 20 do
        local tasks = {}
        for i = 1, 30 do
          tasks[i] = tide.spawn(function()
            if i % 2 == 0 then return select_n(i) end
            return db:with(function(conn)
              return must(conn:one("SELECT $1::int AS n", i)).n
            end)
          end)
        end
        tide.sleep(0)
        for i = 1, 30, 3 do tasks[i]:cancel() end
        for i = 1, 30 do
          local ok, value = tasks[i]:wait()
          if ok then
            assert.are.equal(i, value)
          else
            assert.are.equal("cancelled", value.code)
          end
        end
      end
      eventually("all leases are back", function() return db:stats().leased == 0 end)
      assert.is_true(db:stats().open <= 4)
      assert.are.equal(7, select_n(7))
    end)
  end)

  describe("yields pass through", function()
    it("pcall and xpcall, with their results and handlers", function()
      assert.are.same({ true, 1 }, { pcall(select_n, 1) })
      local handled
      local ok = xpcall(function()
        select_n(1)
        error("mine", 0)
      end, function(err)
        handled = err
        return err
      end)
      assert.is_false(ok)
      assert.are.equal("mine", handled)
    end)

    it("metamethods", function()
      local value = setmetatable({}, {
        __index = function(_, key) return select_n(#key) end,
        __add = function(_, n) return select_n(n + 1) end,
        __call = function(_, n) return select_n(n) end,
        __eq = function() return select_n(1) == 1 end,
        __lt = function() return select_n(1) == 1 end,
        __concat = function() return "n" .. select_n(3) end,
      })
      local other = setmetatable({}, getmetatable(value))
      assert.are.equal(3, value.abc)
      assert.are.equal(6, value + 5)
      assert.are.equal(8, value(8))
      assert.is_true(value == other)
      assert.is_true(value < other)
      assert.are.equal("n3", value .. "x")
    end)

    it("iterators", function()
      local function squares(limit, i)
        i = i + 1
        if i <= limit then return i, select_n(i * i) end
      end
      local seen = {}
      for i, square in squares, 4, 0 do seen[i] = square end
      assert.are.same({ 1, 4, 9, 16 }, seen)
    end)

    it("user coroutines that yield values of their own as well", function()
      local made = coroutine.create(function(a)
        local b = coroutine.yield(select_n(a))
        local c = coroutine.yield(select_n(b))
        return select_n(c), "end"
      end)
      assert.are.same({ true, 1 }, { coroutine.resume(made, 1) })
      assert.are.equal("suspended", coroutine.status(made))
      assert.are.same({ true, 2 }, { coroutine.resume(made, 2) })
      assert.are.same({ true, 3, "end" }, { coroutine.resume(made, 3) })
      assert.are.equal("dead", coroutine.status(made))
      assert.is_false((coroutine.resume(made)))
    end)

    it("coroutine.wrap used as a generator over a query", function()
      local next_row = coroutine.wrap(function()
        for _, row in ipairs(must(db:query "SELECT n FROM generate_series(1, 3) n")) do
          select_n(row.n)
          coroutine.yield(row.n)
        end
      end)
      assert.are.same({ 1, 2, 3 }, { next_row(), next_row(), next_row() })
      assert.is_nil(next_row())
      assert.has_error(next_row)
    end)

    it("coroutines within coroutines", function()
      local outer = coroutine.wrap(function()
        local inner = coroutine.wrap(function()
          coroutine.yield(select_n(1))
          error("from inside", 0)
        end)
        coroutine.yield(inner())
        local ok, err = pcall(inner)
        coroutine.yield(ok)
        coroutine.yield(err)
      end)
      assert.are.same({ 1, false, "from inside" }, { outer(), outer(), outer() })
    end)

    it("coroutine.running, status and isyieldable tell the truth", function()
      local made
      made = coroutine.create(function()
        must(coroutine.running() == made)
        must(coroutine.status(made) == "running")
        must(coroutine.isyieldable == nil or coroutine.isyieldable())
        select_n(1)
        return coroutine.status(made)
      end)
      assert.are.same({ true, "running" }, { coroutine.resume(made) })
    end)

    it("a cancel reaches a call inside a user coroutine", function()
      local inside
      local task = tide.spawn(function()
        local made = coroutine.create(function()
          local _, err = pcall(tide.sleep, 60)
          inside = err
          error(err, 0)
        end)
        local ok, err = coroutine.resume(made)
        must(not ok)
        error(err, 0)
      end)
      tide.sleep(0)
      task:cancel()
      local ok, err = task:wait()
      assert.is_false(ok)
      assert.are.equal("cancelled", err.code)
      assert.are.equal("cancelled", inside.code)
    end)

    it("require of a module that queries while it loads", function()
      local status, output = support.program(([[
        package.path = %q .. "/?.lua;" .. package.path
        local countries = require "%s"
        assert(countries == require "%s")
        print("loaded", countries.n)
      ]]):format(support.directory, "f_mod", "f_mod"))
      assert.are_not.equal(0, status)
      assert.matches("f_mod", output)
      local file = must(io.open(support.directory .. "/f_mod.lua", "w"))
      file:write [[
        local db = require "tidepool".postgres()
        return { n = assert(db:one "SELECT 42 AS n").n }
      ]]
      file:close()
      status, output = support.program(([[
        package.path = %q .. "/?.lua;" .. package.path
        local countries = require "%s"
        assert(countries == require "%s")
        print("loaded", countries.n)
      ]]):format(support.directory, "f_mod", "f_mod"))
      assert.are.equal(0, status, output)
      assert.matches("loaded%s+42", output)
    end)
  end)

  describe("where LuaJIT cannot yield, the message says what to do:", function()
    local function refuses(fn)
      local ok, err = pcall(fn)
      assert.is_false(ok)
      assert.matches("table%.sort", tostring(err))
      assert.matches("before", tostring(err))
      assert.matches("task_spec%.lua:%d+", tostring(err))
      assert.are.equal(3, select_n(3))
    end

    it("in table.sort's comparator", function()
      refuses(function()
        table.sort({ 3, 1, 2 }, function(a, b)
          local less = select_n(a) < select_n(b)
          return less
        end)
      end)
    end)

    it("in string.gsub's callback", function()
      refuses(function()
        return (("abc"):gsub(".", function(c)
          local n = select_n(#c)
          return tostring(n)
        end))
      end)
    end)
  end)

  describe("a program", function()
    it("runs to its end with status 0", function()
      local status, output = support.program [[
        local tide = require "tidepool"
        print(assert(tide.postgres():one("SELECT 6 * $1::int AS n", 7)).n)
        assert(tide.redis():set("from", "program"))
      ]]
      assert.are.equal(0, status, output)
      assert.matches("\n42\n", "\n" .. output)
    end)

    it("that raises ends with status 1 and names the line", function()
      local status, output = support.program [[
        local tide = require "tidepool"
        assert(tide.postgres():one "SELECT 1")
        error "mine"
      ]]
      assert.are.equal(1, status)
      assert.matches("program%.lua:3: mine", output)
    end)

    it("leaves an error that nobody waits for in the log, and goes on", function()
      local status, output = support.program [[
        local tide = require "tidepool"
        tide.spawn(function() error "unheard" end)
        tide.sleep(0.01)
        print "still here"
      ]]
      assert.are.equal(0, status, output)
      assert.matches("unheard", output)
      assert.matches("still here", output)
    end)
  end)
end)
