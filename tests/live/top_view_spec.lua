-- top_view_spec.lua - what `tidepool top` tells of two looks, and how it is shown.

local figures = require "tidepool.command.top_figures"
local view = require "tidepool.command.top_view"

-- As of pool:stats(): powers of two of a nanosecond, cumulative; `times` in seconds.
local function histogram(times)
  local result = { count = #times, max = 0, buckets = {} }
  for i = 1, 22 do result.buckets[i] = { le = 2 ^ (13 + i) / 1e9, count = 0 } end
  for _, time in ipairs(times) do
    result.max = math.max(result.max, time)
    for _, bucket in ipairs(result.buckets) do
      if time <= bucket.le then bucket.count = bucket.count + 1 end
    end
  end
  return result
end

local function with(result, changes)
  for name, value in pairs(changes or {}) do result[name] = value end
  return result
end

-- A pool of /health/pools.
local function pool(changes)
  return with({
    kind = "postgres", max = 15, open = 5, idle = 2, leased = 1, shared = 2, opening = 0,
    waiting = 0, queued = 0, due = 0, oldest_wait = 0, exhausted = false, down = false,
    paused = false, settings = { lanes = 3 }, errors = { timeout = 0, lost = 0 },
    counters = { arrivals = 100, completions = 90, timeouts = 0 },
    wait = histogram {}, queue = histogram {}, use = histogram {},
    service = histogram {},
  }, changes)
end

-- What /health/pools tells.
local function page(changes)
  return with({
    version = "1.2.3", pid = 7, uptime = 100, status = "ok",
    tasks = { live = 3, started = 50, errors = 0 },
    http = { requests = 1000, in_flight = 2, open = 9, responses = { ["2xx"] = 990 } },
    pools = { main = pool() },
  }, changes)
end

describe("The figures of top", function()
  it("are rates between two looks, by the instance's clock", function()
    local later = page {
      uptime = 102, tasks = { live = 4, started = 60, errors = 0 },
      http = { requests = 1500, in_flight = 0, open = 9,
               responses = { ["2xx"] = 1486, ["5xx"] = 4 } },
      pools = { main = pool {
        counters = { arrivals = 300, completions = 290, timeouts = 6 },
        errors = { timeout = 6, lost = 0 },
      } },
    }
    local found = figures.of(later, page())

    assert.equal(2, found.seconds)
    assert.equal(250, found.http.requests_per_second)
    assert.same({ ["2xx"] = 248, ["5xx"] = 2 }, found.http.responses_per_second)
    assert.equal(5, found.tasks.started_per_second)
    local main = found.pools.main
    assert.same({ 100, 100, 3 }, { main.arrivals_per_second, main.completions_per_second,
                                   main.timeouts_per_second })
    assert.same({ timeout = 6 }, main.errors)
    assert.same({ timeout = 3 }, main.errors_per_second)
  end)

  it("are times of what happened between them, of leases and statements", function()
    local before = page { pools = { main = pool {
      wait = histogram { 2, 2, 2, 2 }, use = histogram { 3 },
    } } }
    local after = page { uptime = 101, pools = { main = pool {
      wait = histogram { 2, 2, 2, 2, 0.001 }, queue = histogram { 0.001, 0.001 },
      use = histogram { 3 }, service = histogram {},
    } } }
    local main = figures.of(after, before).pools.main

    assert.equal(3, main.wait.count)
    assert.is_true(main.wait.p50 > 0.0005 and main.wait.p50 < 0.00105, main.wait.p50)
    assert.is_true(main.wait.p99 > main.wait.p50 and main.wait.p99 < 0.00105)
    assert.same({ count = 0 }, main.service)
  end)

  it("have no time above the longest that was measured", function()
    local found = figures.of(page { pools = { main = pool {
      use = histogram { 0.3 }, wait = histogram { 60 },
    } } })

    assert.is_true(found.pools.main.service.p99 <= 0.3)
    assert.equal(2 ^ 35 / 1e9, found.pools.main.wait.p99)
  end)

  it("are since the start with one look, or of another process", function()
    local now = page { pools = { main = pool { wait = histogram { 1, 1 } } } }
    local function are_since_the_start(before)
      local found = figures.of(now, before)
      assert.is_nil(found.seconds)
      assert.is_nil(found.http.requests_per_second)
      assert.is_nil(found.pools.main.arrivals_per_second)
      assert.equal(2, found.pools.main.wait.count)
    end
    are_since_the_start(nil)
    are_since_the_start(page { pid = 8, uptime = 99 })
    are_since_the_start(page { uptime = 5000 })
  end)

  it("name the state of a pool, the worst first", function()
    local function state(changes)
      return figures.of(page { pools = { main = pool(changes) } }).pools.main.state
    end
    assert.equal("ok", state())
    assert.equal("exhausted", state { exhausted = true })
    assert.equal("paused", state { paused = true, exhausted = true })
    assert.equal("down", state { down = true, paused = true })
  end)
end)

describe("The view of top", function()
  local function report(changes, pools)
    local later = page { uptime = 101, pools = pools }
    return with({ url = "http://h:1", clock = "12:00:00",
                  figures = figures.of(later, page { pools = pools }) }, changes)
  end

  local function texts(lines)
    local result = {}
    for i, line in ipairs(lines) do result[i] = line.text end
    return result
  end

  it("has a line for a pool where the width allows", function()
    local lines = texts(view.lines(report()))

    assert.equal("tidepool 1.2.3  http://h:1  ok  up 1m41s  12:00:00", lines[1])
    assert.equal("requests 0/s, 2 running, 9 connected", lines[2])
    assert.equal("tasks 3, 0/s, 0 failed", lines[3])
    assert.equal("rates and times of the last 1.0 s", lines[4])
    assert.matches("^POOL KIND     STATE     MAX OPEN .* LANES QUEUED  DUE$", lines[5])
    assert.matches("^main postgres ok         15    5    2      1      2", lines[6])
    assert.matches(" 2/3      0    0$", lines[6])
    assert.equal(6, #lines)
  end)

  it("breaks the table where it does not, and leaves no column out", function()
    local function columns(width)
      local found = {}
      for _, line in ipairs(view.lines(report(), width)) do
        if line.style == "title" then
          for title in line.text:gmatch "%S+" do found[#found + 1] = title end
        end
      end
      return found
    end
    for _, width in ipairs { 40, 60, 80, 120, 200 } do
      assert.same(columns(), columns(width))
    end
  end)

  it("fits any width and height", function()
    local pools = {}
    for i = 1, 20 do
      pools["pool" .. i] = pool {
        errors = { timeout = i }, last_error = ("r\195\169fus\195\169 "):rep(30),
      }
    end
    for width = 1, 200, 7 do
      for height = 1, 60, 5 do
        local lines = view.lines(report({}, pools), width, height)
        assert.is_true(#lines <= height)
        for _, line in ipairs(lines) do
          local _, n = line.text:gsub("[^\128-\191]", "")
          assert.is_true(n <= width, line.text)
        end
      end
    end
  end)

  it("counts the lines for which there is no room, and shows trouble first", function()
    local pools = { a = pool(), b = pool(), c = pool { exhausted = true },
                    d = pool { down = true, last_error = "no route" } }
    local all = view.lines(report({}, pools))
    local lines = view.lines(report({}, pools), nil, 9)

    assert.matches("^d .* down ", lines[6].text)
    assert.same({ "  last error: no route", "bad" }, { lines[7].text, lines[7].style })
    assert.matches("^c .* exhausted ", lines[8].text)
    assert.equal(("and %d lines for which there is no room"):format(#all - 8),
      lines[9].text)
    assert.equal(9, #lines)
  end)

  it("tells a policy's last change, and errors by code", function()
    local change = { setting = "max_connections", from = 13, to = 15, outcome = "applied",
                     ago = 4.2, reason = "all in use" }
    local before = { main = pool { errors = { timeout = 5, lost = 1 } },
                     other = pool { policy_name = "aimd" } }
    local after = { main = pool { errors = { timeout = 8, lost = 1 },
                                  policy_name = "aimd", policy_change = change },
                    other = pool { policy_name = "aimd" } }
    local policy = { name = "aimd", dry_run = true, ticks = 9, failures = 1 }
    local found = figures.of(page { uptime = 102, pools = after, policy = policy },
      page { pools = before })
    local text = view.text(view.lines(report { figures = found }))

    local function has(words) assert.is_truthy(text:find(words, 1, true), text) end
    has "  policy aimd: max_connections 13 -> 15, applied 4.2s ago: all in use\n"
    has "  policy aimd: has changed nothing\n"
    has "  errors: timeout 1.5/s; since the start lost 1, timeout 8\n"
    has "policy aimd (dry run): looked 9 times, failed 1\n"
  end)

  it("says since when the instance is away, with the figures of then", function()
    local lost = { seconds = 75, clock = "11:58:45", why = "refused\27[2J" }
    local lines = view.lines(report { lost = lost })
    local first = view.lines { url = "http://h:1", clock = "12:00:00", lost = lost }

    assert.matches("  away  up 1m41s  12:00:00$", lines[1].text)
    assert.same({ "no answer for 1m15s, since 11:58:45", "bad" },
      { lines[2].text, lines[2].style })
    assert.equal("  refused [2J", lines[3].text)
    assert.equal("rates and times of the last 1.0 s that it answered", lines[6].text)
    assert.matches("^main ", lines[8].text)
    assert.same({ "tidepool http://h:1  12:00:00", lines[2].text, lines[3].text },
      texts(first))
    assert.same({ "tidepool http://h:1  12:00:00", "no answer yet" },
      texts(view.lines { url = "http://h:1", clock = "12:00:00" }))
  end)

  it("writes no escape of others, and its own around lines", function()
    local lines = view.lines(report({}, {
      ["x\27[31m\194\155y"] = pool { last_error = "a\r\nb" },
    }), 80, 24)

    assert.is_nil(view.text(lines):find "[%z\1-\9\11-\31\127]")
    local frame = view.frame(lines)
    assert.matches("^\27%[H\27%[1mtidepool ", frame)
    assert.matches("\27%[J$", frame)
    assert.is_truthy(frame:find("\27[31m  last error: a b\27[0m\27[K", 1, true))
  end)
end)
