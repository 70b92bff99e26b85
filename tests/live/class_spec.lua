-- Classes of requests: set by the app, known to the pools' lines, statements and traces.

local core = require "tidepool.core"
local support = require "support"
local tide = require "tidepool"

local must = support.must

after_each(support.run_ends)

describe("A class", function()
  it("is normal, is set for a task, and is inherited by what that starts", function()
    assert.are.equal("normal", tide.class())
    local task = tide.spawn(function()
      assert.are.equal("batch", tide.class "batch")
      local inner = tide.spawn(tide.class)
      return tide.class(), select(2, inner:wait())
    end)
    assert.are.same({ true, "batch", "batch" }, { task:wait() })
    assert.are.equal("normal", tide.class())
  end)

  it("that is none is refused, at the line of the script", function()
    local ok, message = pcall(tide.class, "bulk")
    assert.is_false(ok)
    assert.matches('class_spec.lua:%d+: class: "critical", "normal" or "batch" expected, '
      .. 'got "bulk"', message)
  end)

  it("of a request is the class of its leases and statements", function()
    local db = support.postgres { max_connections = 2 }
    local cache = support.redis {}
    local app = tide.app()
    app:get("/report", function(req)
      assert(req.class == "normal")
      req.class = "batch"
      req.user = "else is kept"
      support.teach(db, "SELECT 1 AS n")
      must(cache:get "nothing here" == nil)
      db:with(function(lease) return lease:query "SELECT 2 AS n" end)
      return req.class .. " " .. req.user .. " " .. tostring(rawget(req, "class"))
    end)
    assert.are.equal("batch else is kept nil", tide.request(app, "GET", "/report").body)
    tide.class "normal"
    local text = core.dump_text(db)
    assert.matches("statement served %d+ %d+ %d+ batch\n", text)
    assert.matches("lease served %d+ %d+ %d+ batch\n", text)
    assert.matches("statement served %d+ %d+ %d+ batch\n", core.dump_text(cache))
  end)

  it("decides who is served first when several wait", function()
    local db = support.postgres { max_connections = 1 }
    local order = {}
    local function ask(class)
      tide.class(class)
      db:with(function(lease)
        lease:query "SELECT 1"
        order[#order + 1] = class
      end)
    end
    local tasks = {}
    db:with(function(lease)
      for _ = 1, 8 do tasks[#tasks + 1] = tide.spawn(ask, "batch") end
      for _ = 1, 8 do tasks[#tasks + 1] = tide.spawn(ask, "critical") end
      support.eventually("all wait", function()
        return db:stats().waiting == 16
      end)
      lease:query "SELECT 1"
    end)
    for _, task in ipairs(tasks) do task:wait() end
    local first = table.concat(order, " ", 1, 9)
    local _, critical = first:gsub("critical", "")
    assert.is_true(critical >= 7, first)
  end)
end)
