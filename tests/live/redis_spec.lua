-- Redis: commands by name, pipelines, multi, leases, order under cancellation.

local core = require "tidepool.core"
local servers = require "tidepool.servers"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

describe("Redis", function()
  local cache

  setup(function() cache = support.redis { max_connections = 4 } end)

  before_each(function() must(cache:call "FLUSHALL") end)

  describe("commands", function()
    it("are called by name, in any case", function()
      assert.are.equal("OK", cache:set("k", "v"))
      assert.are.equal("v", cache:get "k")
      assert.are.equal("v", cache:call("GET", "k"))
      assert.are.equal("v", cache:call("get", "k"))
      assert.are.equal(1, cache:del "k")
    end)

    it("give nil and no error for what is not there", function()
      local value, err = cache:get "nothing"
      assert.is_nil(value)
      assert.is_nil(err)
    end)

    it("give numbers, strings, and arrays with tide.null", function()
      assert.are.equal(1, cache:incr "n")
      assert.are.equal(10, cache:incrby("n", 9))
      assert.are.equal("10", cache:get "n")
      assert.are.equal(2, cache:rpush("list", "a", "b"))
      assert.are.same({ "a", "b" }, cache:lrange("list", 0, -1))
      assert.are.same({ "10", tide.null, "10" }, cache:mget("n", "nothing", "n"))
      assert.are.same({}, cache:lrange("none", 0, -1))
    end)

    it("keep bytes as they are", function()
      local bytes = "\0\r\n\255" .. ("x"):rep(100000)
      must(cache:set("bytes", bytes))
      assert.are.equal(bytes, cache:get "bytes")
    end)

    it("take numbers as arguments", function()
      must(cache:set("n", 12))
      must(cache:expire("n", 100))
      assert.are.equal("12", cache:get "n")
      must(cache:set("f", 0.5))
      assert.are.equal("0.5", cache:get "f")
    end)

    it("give nested arrays", function()
      must(cache:xadd("stream", "1-1", "field", "value"))
      assert.are.same({ { "1-1", { "field", "value" } } },
        cache:xrange("stream", "-", "+"))
    end)

    it("give what Redis refuses as nil, err", function()
      must(cache:set("text", "x"))
      local value, err = cache:incr "text"
      assert.is_nil(value)
      assert.are.equal("server", err.code)
      assert.matches("not an integer", tostring(err))
      value, err = cache:call("NOSUCHCOMMAND", 1)
      assert.is_nil(value)
      assert.matches("unknown command", tostring(err))
      assert.are.equal("x", cache:get "text")
    end)

    it("raise for arguments that cannot be sent, at the caller's line", function()
      local ok, err = pcall(function()
        local value = cache:set("k", {})
        return value
      end)
      assert.is_false(ok)
      assert.matches("redis_spec%.lua:%d+", tostring(err))
      assert.has_error(function() cache:call() end)
    end)

    for _, command in ipairs { "SUBSCRIBE", "MULTI", "SELECT", "MONITOR", "WATCH" } do
      it(command .. " is refused on a shared connection, saying what to use", function()
        local ok, err = pcall(cache.call, cache, command, "1")
        assert.is_false(ok)
        assert.matches(command, tostring(err))
      end)
    end

    it("run 500 at once, each with its own answer", function()
      local jobs = {}
      for i = 1, 500 do
        jobs[i] = function() return cache:call("ECHO", "m" .. i) end
      end
      local results = must(tide.all(jobs))
      for i = 1, 500 do assert.are.equal("m" .. i, results[i]) end
      assert.is_true(cache:stats().open <= 4)
    end)
  end)

  describe("a pipeline", function()
    it("gives one reply a command, in order, errors in their place", function()
      local replies = must(cache:pipeline(function(p)
        p:set("a", 1)
        p:incr "a"
        p:lpush("a", "x")
        p:get "nothing"
        p:call("GET", "a")
      end))
      assert.are.equal("OK", replies[1])
      assert.are.equal(2, replies[2])
      assert.are.equal("server", replies[3].code)
      assert.are.equal(tide.null, replies[4])
      assert.are.equal("2", replies[5])
      assert.are.equal(5, #replies)
    end)

    it("of no commands gives an empty list", function()
      assert.are.same({}, cache:pipeline(function() end))
    end)

    it("of a thousand commands works", function()
      local replies = must(cache:pipeline(function(p)
        for i = 1, 1000 do p:rpush("long", i) end
      end))
      assert.are.equal(1000, #replies)
      assert.are.equal(1000, replies[1000])
    end)

    it("sends nothing when its function raises", function()
      assert.has_error(function()
        cache:pipeline(function(p)
          p:set("half", 1)
          error "mine"
        end)
      end)
      assert.is_nil((cache:get "half"))
    end)
  end)

  describe("multi", function()
    it("runs all or nothing and gives the replies", function()
      local replies = must(cache:multi(function(m)
        m:set("a", 1)
        m:incrby("a", 41)
        m:get "a"
      end))
      assert.are.same({ "OK", 42, "42" }, replies)
    end)

    it("is not mixed with others", function()
      local jobs = {}
      for i = 1, 50 do
        jobs[i] = function()
          local replies = must(cache:multi(function(m)
            m:incr "counter"
            m:incr "counter"
          end))
          return replies[2] - replies[1]
        end
      end
      for _, step in ipairs(must(tide.all(jobs))) do assert.are.equal(1, step) end
      assert.are.equal("100", cache:get "counter")
    end)

    it("gives nil, err when Redis aborts it", function()
      local replies, err = cache:multi(function(m)
        m:set("a", 1)
        m:call("NOSUCHCOMMAND")
      end)
      assert.is_nil(replies)
      assert.are.equal("server", err.code)
      assert.is_nil((cache:get "a"))
    end)

    it("gives nil, err when Redis refuses all of its commands", function()
      local before = cache:stats().errors.server
      local replies, err = cache:multi(function(m)
        m:call("NOSUCHCOMMAND", 1)
        m:call("NORTHISONE")
      end)
      assert.is_nil(replies)
      assert.are.equal("server", err.code)
      assert.matches("unknown command '?`?NOSUCHCOMMAND", err.message)
      assert.are.equal(before + 1, cache:stats().errors.server)
    end)
  end)

  describe("timeouts and cancels", function()
    -- Redis stands still for everybody; it answers when the time is over.
    local function freeze(ms)
      must(cache:call("CLIENT", "PAUSE", ms, "ALL"))
    end

    it("end a wait with timeout; the late reply goes to nobody", function()
      local one = support.redis { max_connections = 1, lanes = 1 }
      must(one:set("late", "reply"))
      freeze(150)
      local value, err = tide.timeout(0.02, function() return one:get "late" end)
      assert.is_nil(value)
      assert.are.equal("timeout", err.code)
      assert.are.equal("echo", one:call("ECHO", "echo"))
    end)

    it("of a write say that it may have happened, as it has", function()
      local one = support.redis {
        max_connections = 1, lanes = 1, statement_timeout = 0.05,
      }
      must(one:call "PING")
      freeze(150)
      local done, err = one:set("late", "written")
      assert.is_nil(done)
      assert.are.same({ "timeout", "unknown" }, { err.code, err.outcome })
      eventually("it is written", function() return one:get "late" == "written" end)
    end)

    it("are counted while they are due, and how long the first one waits", function()
      local one = support.redis { max_connections = 1, lanes = 1 }
      must(one:call "PING")
      one:pause()
      local task = tide.spawn(function() return one:call("ECHO", "echo") end)
      eventually("it waits", function() return one:stats().oldest_wait > 0 end)
      assert.are.equal(1, one:stats().queued)
      freeze(50)
      one:resume()
      eventually("it is due", function() return one:stats().due == 1 end)
      task:wait()
      local stats = one:stats()
      assert.are.same({ 0, 0 }, { stats.due, stats.oldest_wait })
    end)

    it("never shift replies, however many are cancelled", function()
      local one = support.redis { max_connections = 1, lanes = 1 }
      local seed = 42
      local function random(n)
        seed = (seed * 1103515245 + 12345) % 2147483648
        return seed % n
      end
      for _ = 1, 20 do
        local tasks = {}
        for i = 1, 100 do
          tasks[i] = tide.spawn(function() return one:call("ECHO", "m" .. i) end)
        end
        if random(2) == 0 then tide.sleep(0) end
        local cancelled = {}
        for i = 1, 100 do
          if random(3) == 0 then
            tasks[i]:cancel()
            cancelled[i] = true
          end
        end
        for i = 1, 100 do
          local ok, value = tasks[i]:wait()
          if ok then
            assert.are.equal("m" .. i, value)
          else
            assert.is_true(cancelled[i])
            assert.are.equal("cancelled", value.code)
          end
        end
      end
      assert.are.equal("still right", one:call("ECHO", "still right"))
    end)

    it("a connection that stalls is closed and replaced", function()
      local one = support.redis { max_connections = 1, lanes = 1, stall_timeout = 0.05 }
      freeze(400)
      local value, err = tide.timeout(5, function() return one:get "k" end)
      assert.is_nil(value)
      if err then assert.matches("^[lt]", err.code) end -- lost or timeout
      eventually("it answers again", function() return one:call("ECHO", "x") == "x" end)
    end)
  end)

  describe("blocking commands", function()
    it("wait on a connection of their own while others go on", function()
      local waiter = tide.spawn(function() return cache:blpop("queue", 10) end)
      eventually("it waits", function() return cache:stats().leased == 1 end)
      assert.are.equal("ok", cache:call("ECHO", "ok"))
      assert.are.equal(1, cache:lpush("queue", "job"))
      local ok, reply = waiter:wait()
      assert.is_true(ok)
      assert.are.same({ "queue", "job" }, reply)
    end)

    it("give nil when their time is over", function()
      local reply, err = cache:blpop("queue", 0.05)
      assert.is_nil(reply)
      assert.is_nil(err)
    end)

    it("can be cancelled; what comes later stays in the queue", function()
      local waiter = tide.spawn(function() return cache:blpop("queue", 10) end)
      eventually("it waits", function() return cache:stats().leased == 1 end)
      waiter:cancel()
      assert.is_false((waiter:wait()))
      eventually("the connection is gone", function()
        return cache:stats().leased == 0
      end)
      eventually("Redis knows", function()
        return not cache:call("CLIENT", "LIST"):find "cmd=blpop"
      end)
      assert.are.equal(1, cache:lpush("queue", "job"))
      assert.are.equal("job", cache:lpop "queue")
    end)
  end)

  describe("faults", function()
    it("a killed connection is replaced; reads in flight are sent again", function()
      local one = support.redis { max_connections = 1, lanes = 1 }
      must(one:set("k", "v"))
      local id = must(one:call("CLIENT", "ID"))
      must(cache:call("CLIENT", "KILL", "ID", id))
      assert.are.equal("v", eventually("it answers", function() return one:get "k" end))
      assert.are_not.equal(id, one:call("CLIENT", "ID"))
    end)

    it("a server that is killed and started again is used within 2 s", function()
      local own = must(servers.redis { directory = support.directory .. "/faults-r" })
      finally(function() own:stop() end)
      local pool = support.redis({ max_connections = 2, acquire_timeout = 1 },
        { url = own.url })
      local seen = support.load(20, function(i)
        local value, err = pool:call("ECHO", "m" .. i)
        if not value then return nil, err end
        return must(value == "m" .. i)
      end)
      eventually("the load runs", function() return seen.ok > 100 end)
      own:kill()
      eventually("the callers see it", function() return #seen.errors > 0 end)
      must(own:restart())
      local before = seen.ok
      eventually("commands succeed again", function() return seen.ok > before end,
        2 * support.slowness)
      seen.stop()
      pool:close(0)
    end)

    it("a server that cannot be reached refuses", function()
      local pool = support.redis({ max_connections = 1, acquire_timeout = 5 },
        { url = "redis://127.0.0.1:1" })
      local value, err = pool:get "k"
      assert.is_nil(value)
      assert.are.equal("refused", err.code)
      assert.is_true(err.retryable)
    end)

    it("a wrong url is said at once", function()
      for _, url in ipairs { "http://h", "redis://h:port", "redis://h/notanumber" } do
        local pool, err = core.redis_open { name = "bad", url = url }
        assert.is_nil(pool)
        assert.is_string(err.message)
      end
    end)
  end)

  describe("a url", function()
    local own

    setup(function()
      own = must(servers.redis {
        directory = support.directory .. "/redis-urls", tcp = true,
      })
    end)

    teardown(function() own:stop() end)

    local function url_with(credentials, database)
      return ("redis://%s%s/%s"):format(credentials, own.url:match "^redis://(.*)$",
        database or 0)
    end

    it("of a unix socket with a database number selects it", function()
      local pool = support.redis({ max_connections = 1 },
        { url = own.socket_url .. "?db=5" })
      assert.matches("db=5 ", pool:call("CLIENT", "INFO"))
      assert.matches("addr=/", pool:call("CLIENT", "INFO"))
    end)

    it("of a host with a database number selects it", function()
      local zero = support.redis({ max_connections = 1 }, { url = url_with("", 0) })
      local three = support.redis({ max_connections = 1 }, { url = url_with("", 3) })
      must(zero:set("k", "in zero"))
      assert.is_nil((three:get "k"))
      must(three:set("k", "in three"))
      assert.are.equal("in zero", zero:get "k")
    end)

    it("with a user and a password logs in", function()
      local plain = support.redis({ max_connections = 1 }, { url = url_with("") })
      must(plain:call("ACL", "SETUSER", "reader", "on", ">s3cret", "~*", "+@all"))
      local pool = support.redis({ max_connections = 1 },
        { url = url_with("reader:s3cret@") })
      assert.are.equal("reader", pool:call("ACL", "WHOAMI"))
    end)

    it("with a wrong password is refused, and the password is not shown", function()
      local pool = support.redis({ max_connections = 1, acquire_timeout = 5 },
        { url = url_with("reader:wr0ng@") })
      local value, err = pool:get "k"
      assert.is_nil(value)
      assert.are.equal("refused", err.code)
      assert.matches("WRONGPASS", tostring(err))
      assert.not_matches("wr0ng", tostring(err))
    end)

    it("with a percent sign in the password is decoded", function()
      local plain = support.redis({ max_connections = 1 }, { url = url_with("") })
      must(plain:call("ACL", "SETUSER", "odd", "on", ">p@ss/word", "~*", "+@all"))
      local pool = support.redis({ max_connections = 1 },
        { url = url_with("odd:p%40ss%2Fword@") })
      assert.are.equal("odd", pool:call("ACL", "WHOAMI"))
    end)
  end)
end)
