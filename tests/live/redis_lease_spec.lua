-- Redis: what a session holds, on a connection of its own.

local support = require "support"
local tide = require "tidepool"

local must = support.must

describe("A Redis lease", function()
  local cache

  setup(function() cache = support.redis { max_connections = 3 } end)

  before_each(function() must(cache:call "FLUSHALL") end)

  it("runs commands by name, and is given back", function()
    local text = must(cache:with(function(conn)
      must(conn:set("k", 7))
      return conn:get "k"
    end))
    assert.are.equal("7", text)
    assert.are.equal(0, cache:stats().leased)
  end)

  it("sees with WATCH that another one wrote", function()
    local replies, err = cache:with(function(conn)
      must(conn:watch "n")
      must(cache:set("n", "from another"))
      must(conn:call "MULTI")
      must(conn:incr "m")
      return conn:call "EXEC"
    end)
    assert.is_nil(replies)
    assert.is_nil(err)
    assert.is_nil((cache:get "m"))
  end)

  it("leaves nothing of its session to the next one", function()
    cache:with(function(conn)
      must(conn:call("SELECT", 1))
      must(conn:set("only", "in database 1"))
      must(conn:call "MULTI")
    end)
    local value = cache:with(function(conn) return conn:get "only" end)
    assert.is_nil(value)
    assert.is_nil((cache:get "only"))
  end)

  it("gives nil for a multi that a watched key's change stopped, and runs it else",
    function()
      must(cache:set("n", 1))
      local tries = 0
      local replies = must(cache:with(function(conn)
        while true do
          tries = tries + 1
          must(conn:watch "n")
          local n = tonumber(must(conn:get "n"))
          if tries == 1 then must(cache:set("n", 10)) end
          local done, err = conn:multi(function(m)
            m:set("n", n + 1)
            m:get "nothing"
          end)
          assert.is_nil(err)
          if done then return done end
        end
      end))
      assert.are.equal(2, tries)
      assert.are.same({ "OK", tide.null }, replies)
      assert.are.equal("11", cache:get "n")
    end)

  it("that watches changes nothing for who has the connection next", function()
    cache:with(function(conn) must(conn:watch "n") end)
    must(cache:set("n", 1))
    assert.are.same({ "OK" }, cache:with(function(conn)
      return conn:multi(function(m) m:set("n", 2) end)
    end))
  end)

  it("with a name or a mark of its own is closed when it is given back", function()
    local before = cache:stats().closes.spent
    local id = cache:with(function(conn)
      must(conn:call("CLIENT", "SETNAME", "mine"))
      assert.are.equal("mine", conn:call("CLIENT", "GETNAME"))
      return conn:call("CLIENT", "ID")
    end)
    support.eventually("it is closed", function()
      return not must(cache:call("CLIENT", "LIST")):find("id=" .. id .. " ", 1, true)
    end)
    assert.are.equal(before + 1, cache:stats().closes.spent)
  end)

  for _, line in ipairs {
    "WATCH k", "UNWATCH", "CLIENT SETNAME x", "CLIENT NO-EVICT ON", "READONLY", "ASKING",
  } do
    it("is what " .. line .. " on the pool is told to use", function()
      local words = {}
      for word in line:gmatch "%S+" do words[#words + 1] = word end
      local ok, err = pcall(function()
        local reply = cache:call(unpack(words))
        return reply
      end)
      assert.is_false(ok)
      assert.matches("redis_lease_spec.lua:%d+: .*cache:with%(fn%)", err)
    end)
  end

  it("waits for a blocking command while lanes go on", function()
    local popped, pushed = tide.all(function()
      return cache:with(function(conn) return conn:blpop("queue", 5) end)
    end, function()
      tide.sleep(0.01)
      return cache:rpush("queue", "job")
    end)
    assert.are.same({ "queue", "job" }, popped)
    assert.are.equal(1, pushed)
  end)

  it("of a cancelled task is given back, and closed when it was blocked", function()
    local task = tide.spawn(function()
      cache:with(function(conn) conn:blpop("never", 0) end)
    end)
    support.eventually("a lease", function() return cache:stats().leased == 1 end)
    task:cancel()
    task:wait()
    support.eventually("none", function() return cache:stats().leased == 0 end)
    assert.are.equal("PONG", cache:ping())
  end)

  it("used after it was given back raises at its line", function()
    local conn = must(cache:acquire())
    assert.is_true(conn:release())
    assert.is_false(conn:release())
    local ok, err = pcall(function() return (conn:get "k") end)
    assert.is_false(ok)
    assert.matches("redis_lease_spec.lua:%d+: this connection, acquired at", err)
  end)
end)
