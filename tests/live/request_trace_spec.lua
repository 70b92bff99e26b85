-- Ids of requests and their traces: taken from the client or made, told to it, to the
-- handler and to Postgres, whose sessions forget them.

local core = require "tidepool.core"
local support = require "support"
local tide = require "tidepool"

local must = support.must
local TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
local SPAN = "00f067aa0ba902b7"
local SAMPLED = ("00-%s-%s-01"):format(TRACE, SPAN)
local UNSAMPLED = ("00-%s-%s-00"):format(TRACE, SPAN)
local WATCH = "SELECT query, application_name FROM pg_stat_activity WHERE pid = $1"

after_each(support.run_ends)
before_each(function() core.trace_sample(0) end)

-- Serves an app of one handler; gives a function that asks it.
local function served(fn)
  local app = tide.app()
  app:get("/a/:id", fn)
  local server, address = support.serve(app)
  support.at_end(function() server:close() end)
  return function(headers)
    return support.request(address, "GET", "/a/1", nil, headers)
  end
end

describe("The id of a request", function()
  it("is the client's, and goes back to it", function()
    local ask = served(function(req) return req.id end)
    local _, headers, body = ask { ["X-Request-Id"] = "client-1" }
    assert.are.equal("client-1", body)
    assert.are.equal("client-1", headers["x-request-id"])
  end)

  it("is made when the client has none, or one that is none", function()
    local ask = served(function(req) return req.id end)
    local seen = {}
    for _, given in ipairs { false, ("x"):rep(65), "a b", "a,b", 'a"b' } do
      local _, headers, body = ask { ["X-Request-Id"] = given or nil }
      assert.matches("^%x+$", body)
      assert.are.equal(32, #body)
      assert.are.equal(body, headers["x-request-id"])
      assert.is_nil(seen[body])
      seen[body] = true
    end
  end)

  it("is told to nobody where nobody asked", function()
    local ask = served(function() return "a" end)
    local _, headers = ask()
    assert.is_nil(headers["x-request-id"])
    _, headers = ask { ["X-Request-Id"] = "client-2" }
    assert.are.equal("client-2", headers["x-request-id"])
  end)

  it("leaves a header of the handler's alone", function()
    local ask = served(function(req)
      return { headers = { ["X-Request-ID"] = "own" }, body = req.id }
    end)
    local _, headers, body = ask { ["X-Request-Id"] = "client-3" }
    assert.are.equal("client-3", body)
    assert.are.equal("own", headers["x-request-id"])
  end)

  it("is that of a failure", function()
    local ask = served(function() error "a mistake of ours" end)
    local status, headers, body = ask { ["X-Request-Id"] = "client-4" }
    assert.are.equal(500, status)
    assert.are.equal("internal error client-4\n", body)
    assert.are.equal("client-4", headers["x-request-id"])
    status, headers, body = ask()
    assert.are.equal(500, status)
    assert.are.equal("internal error " .. headers["x-request-id"] .. "\n", body)
  end)

  it("is known to what a handler has started, after its end", function()
    local told, gate = {}, support.gate()
    local ask = served(function(req)
      tide.spawn(function()
        gate.wait()
        told[req.id] = req.trace.trace_id
      end)
      return "done"
    end)
    ask { ["X-Request-Id"] = "later", traceparent = SAMPLED }
    local _, _, body = ask { ["X-Request-Id"] = "other" }
    assert.are.equal("done", body)
    gate.open()
    support.eventually("both have told", function() return told.later and told.other end)
    assert.are.equal(TRACE, told.later)
    assert.are_not.equal(TRACE, told.other)
  end)

  it("is that of a streamed reply that failed before it began", function()
    for _, opts in ipairs { {}, { timeout_ms = 60000 } } do
      local app = tide.app()
      app:get("/", opts, function()
        return tide.stream(function() error "a mistake of ours" end)
      end)
      local response = tide.request(app, "GET", "/",
        { headers = { ["X-Request-Id"] = "f" } })
      assert.are.same({ 500, "internal error f\n" }, { response.status, response.body })
    end
  end)

  it("is the same in all that a handler starts, and in a streamed reply", function()
    local app = tide.app()
    local id = function() return core.request_id() end
    app:get("/", function(req)
      return tide.stream(function(reply)
        local ids = must(tide.all { id, id })
        local _, spawned = tide.spawn(id):wait()
        reply:write(table.concat({ ids[1], ids[2], spawned, req.id }, " "))
      end)
    end)
    local server, address = support.serve(app)
    support.at_end(function() server:close() end)
    local text = support.raw(address,
      "GET / HTTP/1.0\r\nHost: t\r\nX-Request-Id: s\r\n\r\n")
    assert.matches("\r\nx%-request%-id: s\r\n", text)
    assert.matches("\r\n\r\ns s s s$", text)
  end)

  it("is not that of the one before on the same connection", function()
    local app = tide.app()
    app:get("/", function(req) return req.id end)
    local server, address = support.serve(app)
    support.at_end(function() server:close() end)
    local text = support.raw(address,
      "GET / HTTP/1.1\r\nHost: t\r\nX-Request-Id: first\r\n\r\n"
      .. "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
    local _, second = text:match "\r\n\r\n(.-)HTTP/1.1 200.*\r\n\r\n(.*)$"
    assert.matches("^%x+$", second)
    assert.are.equal(32, #second)
  end)

  it("is there in tests of an app", function()
    local app = tide.app()
    app:get("/", function(req) return req.id .. " " .. req.trace.trace_id end)
    local response = tide.request(app, "GET", "/",
      { headers = { ["X-Request-Id"] = "t", traceparent = SAMPLED } })
    assert.are.equal("t " .. TRACE, response.body)
    assert.are.equal("t", response.headers["x-request-id"])
  end)
end)

describe("The address of a client", function()
  it("is known after the client has gone", function()
    local app, begun, gate, told = tide.app(), false, support.gate(), nil
    app:post("/", function(req)
      begun = true
      gate.wait()
      told = req.remote
      return "too late"
    end)
    local server, address = support.serve(app)
    support.at_end(function() server:close() end)
    local client = support.start_raw(address,
      "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n")
    support.eventually("it is handled", function() return begun end)
    client:signal "KILL"
    client:wait()
    support.eventually("its end is seen", function() return server:stats().gone == 1 end)
    gate.open()
    support.eventually("it is told", function() return told end)
    assert.matches("^127%.0%.0%.1:%d+$", told)
  end)
end)

describe("The trace of a request", function()
  local function trace_of(headers)
    local ask = served(function(req) return tide.json(req.trace) end)
    local _, _, body = ask(headers)
    return tide.decode(body)
  end

  it("goes on with a span of its own", function()
    local trace = trace_of { traceparent = SAMPLED, tracestate = "a=1,b=2" }
    assert.are.equal(TRACE, trace.trace_id)
    assert.are.equal(SPAN, trace.parent_id)
    assert.matches("^%x+$", trace.span_id)
    assert.are.equal(16, #trace.span_id)
    assert.are_not.equal(SPAN, trace.span_id)
    assert.is_true(trace.sampled)
    assert.are.equal("a=1,b=2", trace.tracestate)
    assert.are.equal(("00-%s-%s-01"):format(TRACE, trace.span_id), trace.traceparent)
    assert.is_false(trace_of({ traceparent = UNSAMPLED }).sampled)
  end)

  it("begins anew where there is none, or what comes is none", function()
    for _, given in ipairs { "", SAMPLED .. "-x", SAMPLED:upper(), "ff" .. SAMPLED:sub(3),
      ("00-%s-%s-01"):format(("0"):rep(32), SPAN) } do
      local trace = trace_of { traceparent = given, tracestate = "a=1" }
      assert.are.equal(32, #trace.trace_id)
      assert.are_not.equal(TRACE, trace.trace_id)
      assert.is_nil(trace.parent_id)
      assert.is_nil(trace.tracestate)
      assert.is_false(trace.sampled)
    end
  end)

  it("is sampled by the share of those that begin here", function()
    core.trace_sample(1)
    assert.is_true(trace_of({}).sampled)
    assert.is_false(trace_of({ traceparent = UNSAMPLED }).sampled)
  end)
end)

describe("Postgres", function()
  local watcher, db

  setup(function() watcher = support.postgres { max_connections = 1 } end)

  local function pool(trace)
    db = support.postgres({ max_connections = 1, statement_cache = 3 }, { trace = trace })
    return db
  end

  -- What fn(req) gives, and what the server has of its connection after it.
  local function after(headers, fn)
    local app = tide.app()
    app:get("/a/:id", function(req) return tide.json(fn(req)) end)
    local response = tide.request(app, "GET", "/a/1", { headers = headers })
    assert.are.equal(200, response.status, response.body)
    return response:json()
  end

  local function seen(pid) return must(watcher:one(WATCH, pid)) end

  local function prepared(conn)
    return must(conn:one [[SELECT string_agg(statement, '; ' ORDER BY statement) AS all
      FROM pg_prepared_statements]]).all
  end

  it("gets a comment with the statements of sampled requests", function()
    pool "comment"
    local given = after({ traceparent = SAMPLED, tracestate = "a='1'",
      ["X-Request-Id"] = "r=1" }, function(req)
      local row = must(db:one("SELECT pg_backend_pid() AS pid, $1::text AS text", "x"))
      return { pid = row.pid, text = row.text, span = req.trace.span_id }
    end)
    assert.are.equal("x", given.text)
    assert.are.equal(("SELECT pg_backend_pid() AS pid, $1::text AS text "
      .. "/*request_id='r%%3D1',traceparent='00-%s-%s-01',"
      .. "tracestate='a%%3D%%271%%27'*/"):format(TRACE, given.span),
      seen(given.pid).query)
  end)

  it("gets the route as well, where it is told", function()
    pool "comment"
    local given = after({ traceparent = SAMPLED }, function()
      core.request_route "/a/:id"
      return must(db:one("SELECT pg_backend_pid() AS pid"))
    end)
    assert.matches("route='%%2Fa%%2F%%3Aid',traceparent", seen(given.pid).query)
  end)

  it("gets none where the request is not sampled, or there is a comment", function()
    pool "comment"
    local sql = "SELECT pg_backend_pid() AS pid"
    local given = after({ traceparent = UNSAMPLED }, function()
      return must(db:one(sql))
    end)
    assert.are.equal(sql, seen(given.pid).query)
    for _, own in ipairs { " /* mine */", " -- mine" } do
      given = after({ traceparent = SAMPLED }, function()
        return must(db:one(sql .. own))
      end)
      assert.are.equal(sql .. own, seen(given.pid).query)
    end
  end)

  it("keeps no statement that has a comment, and forgets none for it", function()
    pool "comment"
    local plain = "SELECT 1 AS kept"
    db:with(function(conn)
      must(conn:one(plain))
      local before = prepared(conn)
      assert.matches("^SELECT 1 AS kept; SELECT string_agg[^;]*;[^;]*$", before)
      local app = tide.app()
      app:get("/", function()
        for i = 1, 10 do must(db:one("SELECT 1 AS kept, $1::int AS i", i)) end
        return "done"
      end)
      conn:release()
      for _ = 1, 3 do
        local response = tide.request(app, "GET", "/",
          { headers = { traceparent = SAMPLED } })
        assert.are.equal("done", response.body)
      end
      local again = must(db:acquire())
      assert.are.equal(before, prepared(again))
      again:release()
    end)
  end)

  it("runs them as without: arrays, JSON, errors, transactions, batches", function()
    pool "comment"
    must(db:exec "CREATE TABLE traced (id int, list int[], doc jsonb)")
    local given = after({ traceparent = SAMPLED }, function()
      must(db:transaction(function(tx)
        must(tx:exec("INSERT INTO traced VALUES ($1, $2, $3)", 1, { 1, 2 },
          { a = { true } }))
        return must(tx:one "SELECT * FROM traced")
      end))
      local lists = must(db:batch { { "SELECT 1 AS n" }, { "SELECT $1::int AS n", 2 } })
      local _, err = db:query "SELECT nothing"
      local total = 0
      must(db:each("SELECT generate_series(1, 250) AS n", function(row)
        total = total + row.n
      end))
      return { row = must(db:one "SELECT * FROM traced"), n = lists[2][1].n,
        total = total, sqlstate = err.sqlstate, position = err.position }
    end)
    assert.are.same({ row = { id = 1, list = { 1, 2 }, doc = { a = { true } } }, n = 2,
      total = 31375, sqlstate = "42703", position = "8" }, given)
  end)

  it("has the trace as the session's name during a lease, its own after it", function()
    pool "application_name"
    local function name() return must(db:one "SHOW application_name").application_name end
    local function name_on(conn)
      return must(conn:one "SHOW application_name").application_name
    end
    assert.are.equal("tidepool", name())
    local given = after({ traceparent = SAMPLED }, function()
      local shared = name()
      local with = db:with(name_on)
      local between = name()
      local tx = must(db:transaction(name_on))
      local conn = must(db:acquire())
      local acquired = name_on(conn)
      conn:release()
      return { shared = shared, with = with, between = between, tx = tx,
        acquired = acquired, pid = db:with(function(c) return c:pid() end) }
    end)
    local wanted = "tidepool " .. TRACE
    assert.are.same({ shared = "tidepool", with = wanted, between = "tidepool",
      tx = wanted, acquired = wanted, pid = given.pid }, given)
    support.eventually("the server has the name of before", function()
      return seen(given.pid).application_name == "tidepool"
    end)
  end)

  it("has the name of before also after a transaction that failed, and a lease that was "
    .. "left", function()
    pool "application_name"
    local given = after({ traceparent = SAMPLED }, function()
      local _, err = db:transaction(function(tx)
        local pid = tx:pid()
        must(tx:query "SELECT 1 / 0")
        return pid
      end)
      local kept = must(db:acquire())
      return { code = err.sqlstate, pid = kept:pid() } -- its task's end gives it back
    end)
    assert.are.equal("22012", given.code)
    assert.are.equal("tidepool",
      must(db:one "SHOW application_name").application_name)
    assert.are.equal(given.pid, must(db:one "SELECT pg_backend_pid() AS pid").pid)
  end)

  it("is not told of requests that are not sampled", function()
    pool "application_name"
    local given = after({ traceparent = UNSAMPLED }, function()
      return db:with(function(conn) return must(conn:one "SHOW application_name") end)
    end)
    assert.are.equal("tidepool", given.application_name)
    assert.are.equal(0, db:stats().counters.resets)
  end)
end)
