-- run.lua - runs busted's specs inside the runtime, on servers of their own.
--
--   build/tidepool run tests/live/run.lua -- tests/live/redis_spec.lua ...
--
-- Prints TAP and, last, "N passed, N failed".  Ends with status 1 when a test
-- failed, or when lease or handle is left.

local core = require "tidepool.core"

local ARCH_LIBRARIES = "/usr/lib/" .. (jit.arch == "x64" and "x86_64" or "aarch64")
  .. "-linux-gnu/lua/5.1/?.so"

package.path = table.concat({
  "tests/live/?.lua", "tests/faults/?.lua", "/usr/share/lua/5.1/?.lua",
  "/usr/share/lua/5.1/?/init.lua",
  package.path,
}, ";")
package.cpath = ARCH_LIBRARIES .. ";" .. package.cpath

local servers = require "tidepool.servers"
local support = require "support"
local tide = require "tidepool"

local TEST_SECONDS = 30 * support.slowness

-- Failures are made on purpose here: their warnings are noise.
core.log_setup { level = os.getenv "TEST_LOG" or "error" }

-- Compiled code, or none: off interprets all, hotloop compiles each loop and call that
-- runs twice, so that what LuaJIT compiles wrongly has far more places to show.
local JIT_MODES = {
  on = function() end,
  off = function()
    jit.off()
    jit.flush()
  end,
  hotloop = function() jit.opt.start "hotloop=1" end,
}
JIT_MODES[os.getenv "TEST_JIT" or "on"]()

-- Adds where it was raised, down to where this file called the spec.
local function with_trace(err)
  if type(err) ~= "string" and not core.is_err(err) then return err end
  local trace = debug.traceback(tostring(err), 2)
  return trace:match("^(.-)\n[^\n]*tests/live/run%.lua") or trace
end

-- Runs fn in a task of its own that is cancelled at the limit.
local function limited(fn)
  return function(...)
    local test = core.spawn(function(...) return xpcall(fn, with_trace, ...) end, ...)
    local watch = core.spawn(function()
      tide.sleep(TEST_SECONDS)
      test:cancel()
    end)
    local done, ok, err = test:wait()
    local in_time = not watch:done()
    watch:cancel()
    if not in_time then error("took over " .. TEST_SECONDS .. " s", 0) end
    if not done then error(ok, 0) end
    if not ok then error(err, 0) end
  end
end

-- ---- busted

local function new_busted()
  local busted = require "busted.core"()
  require "busted"(busted)
  busted.register("file", "file", {}) -- no insulation: it would swap _G
  local options = { language = "en", arguments = {}, suppressPending = false }
  require "busted.outputHandlers.TAP"(options):subscribe(options)
  return busted
end

local function count_results(busted)
  local counts = { passed = 0, failed = 0 }
  busted.subscribe({ "test", "end" }, function(_, _, status)
    local kind = status == "success" and "passed" or status ~= "pending" and "failed"
    if kind then counts[kind] = counts[kind] + 1 end
    return nil, true
  end)
  busted.subscribe({ "error" }, function(element)
    if element.descriptor ~= "it" then counts.failed = counts.failed + 1 end
    return nil, true
  end)
  return counts
end

local function add_hooks(busted)
  busted.subscribe({ "test", "start" }, function(element)
    element.run = limited(element.run)
    return nil, true
  end)
  busted.subscribe({ "file", "start" }, function(file)
    support.begin_file(file.name)
    return nil, true
  end)
  busted.subscribe({ "file", "end" }, function()
    support.end_file()
    return nil, true
  end)
end

-- The last test: all pools are closed, so the loop has what it had before.
local function add_leftover_check(busted, handles)
  local function check()
    busted.executors.it("leaves no open handle", function()
      local left = 0
      local ok = pcall(support.eventually, "handles are closed", function()
        left = core.open_handles() - handles
        return left <= 1 -- the sleep of the test's own limit
      end)
      if not ok then error(left .. " loop handles are left open", 0) end
    end)
  end
  busted.executors.file("the end", setmetatable({}, { __call = check }))
end

local function run_specs(paths)
  local busted = new_busted()
  local counts = count_results(busted)

  add_hooks(busted)
  require "busted.modules.test_file_loader"(busted, { "lua" })(paths, { "_spec%.lua$" }, {
    excludes = {},
  })
  add_leftover_check(busted, core.open_handles())
  require "busted.execute"(busted)(1, {})
  return counts
end

-- ---- the servers

-- The servers may run as another account, which must get in.
local function private_directory()
  local path = assert(core.mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/tidepool-live-"))
  assert(core.chmod(path, tonumber("711", 8)))
  return path
end

local function start_servers()
  support.directory = private_directory()
  support.servers.postgres = assert(servers.postgres {
    directory = support.directory .. "/postgres",
  })
  support.servers.redis = assert(servers.redis {
    directory = support.directory .. "/redis",
  })
end

local function stop_servers()
  for _, server in pairs(support.servers) do server:stop() end
  if support.directory then core.remove_tree(support.directory) end
end

local function main(...)
  local paths = { ... }
  if #paths == 0 then paths[1] = "tests/live" end
  local ok, result = xpcall(function()
    start_servers()
    return run_specs(paths)
  end, with_trace)
  stop_servers()
  if not ok then error(result, 0) end
  print(result.passed .. " passed, " .. result.failed .. " failed")
  if result.failed > 0 then error("tests failed", 0) end
end

main(...)
