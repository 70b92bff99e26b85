-- What is secret is said nowhere: not in the log, not in a message, not on a page, not in
-- a dump, however wrong the configuration is and whatever the servers say of it.

local core = require "tidepool.core"
local servers = require "tidepool.servers"
local support = require "support"
local tide = require "tidepool"

local must = support.must
local PROGRAM = core.realpath "/proc/self/exe"
local APP = [[
local tide = require "tidepool"
local app = tide.app()
local POOLS = { "main", "wrong", "named", "refused", "unknown", "command", "failing" }
app:get("/ask", function()
  local calls = {}
  for _, name in ipairs(POOLS) do
    calls[#calls + 1] = function()
      local _, err = tide.postgres(name):one { "SELECT 1 AS n", timeout_ms = 2000 }
      return name .. ": " .. tostring(err)
    end
  end
  for _, name in ipairs { "main", "wrong", "named", "refused", "unknown" } do
    calls[#calls + 1] = function()
      local _, err = tide.redis(name):call("PING")
      return "redis " .. name .. ": " .. tostring(err)
    end
  end
  return table.concat(assert(tide.all(calls)), "\n") .. "\n"
end)
return app
]]

after_each(support.run_ends)

-- Each is another one, so that a failure tells which.
local function secret(name) return "s3cr" .. name .. "t" end

local function assert_silent(text, what)
  local found = text:match "s3cr%w*t"
  if found then
    local at = text:find(found, 1, true)
    error(("%s says %s: ...%s..."):format(what, found,
      text:sub(math.max(1, at - 120), at + 60)), 2)
  end
end

-- A directory with these files.
local count = 0
local function project(files)
  count = count + 1
  local directory = support.directory .. "/secrets" .. count
  must(core.process { args = { "mkdir", "-p", directory } }):wait()
  files["app.lua"] = files["app.lua"] or APP
  for name, text in pairs(files) do
    local file = must(io.open(directory .. "/" .. name, "w"))
    file:write(text)
    file:close()
  end
  return directory
end

local function run(directory, args, env)
  local process = must(core.process {
    args = { PROGRAM, unpack(args) }, cwd = directory, env = env or {},
  })
  return process:wait()
end

describe("A configuration that is wrong", function()
  -- toml, or { toml =, env =, dotenv =, args = }
  local WRONG = {
    unquoted = "[database]\npostgres_url = postgres://u:%s@h/d\n",
    open_string = '[database]\npostgres_url = "postgres://u:%s@h/d\n',
    open_multiline = '[database]\npostgres_url = """postgres://u:%s@h/d\n',
    bad_escape = '[database]\npostgres_url = "postgres://u:%s\\q@h/d"\n',
    no_key = '[database]\npostgres://u:%s@h/d\n',
    twice = '[server]\nadmin_token = "%s-0123456789"\nadmin_token = "%s-0123456789"\n',
    trailing = '[database]\npostgres_url = "postgres://u@h/d" %s\n',
    misspelt = '[database]\npostgres_ulr = "postgres://u:%s@h/d"\n',
    misspelt_token = '[server]\nadmintoken = "%s-0123456789"\n',
    password = '[database]\npostgres_url = "postgres://u@h/d"\npassword = "%s"\n',
    redis_auth = '[redis]\nurl = "redis://h"\nauth = "%s"\n',
    in_a_table = '[database]\npassword = { plain = "%s" }\n',
    in_a_section = '[database.password]\nplain = "%s"\n',
    short_token = '[server]\nadmin_token = "%s"\n',
    token_with_blank = '[server]\nadmin_token = "%s 0123456789abcdef"\n',
    token_list = '[server]\nadmin_token = ["%s"]\n',
    url_list = '[database]\npostgres_url = ["postgres://u:%s@h/d"]\n',
    url_for_number = '[database.pool]\nmax_connections = "postgres://u:%s@h/d"\n',
    url_for_choice = '[log]\nlevel = "postgres://u:%s@h/d"\n',
    url_for_address = '[server]\nlisten = "http://u:%s@127.0.0.1:1"\n',
    bad_port = '[database]\npostgres_url = "postgres://u:%s@h:port/d"\n',
    slash = '[database]\npostgres_url = "postgres://u:a/%s@h:1/d"\n',
    two_ats = '[database]\npostgres_url = "postgres://u:a@%s@h:1/d"\n',
    percent = '[database]\npostgres_url = "postgres://u:%%zz%s@h:1/d"\n',
    zero = '[database]\npostgres_url = "postgres://u:%%00%s@h:1/d"\n',
    parameter_value = '[database]\npostgres_url = "postgres://h/d?pasword=%s"\n',
    scheme = '[database]\npostgres_url = "mysql://u:%s@h/d"\n',
    no_scheme = '[database]\npostgres_url = "u:%s@h/d"\n',
    pairs = "[database]\npostgres_url = \"host=h password='%s\"\n",
    pair_name = '[database]\npostgres_url = "host=h pasword=%s"\n',
    pair_blank = '[database]\npostgres_url = "host=h password=a %s"\n',
    redis_port = '[redis]\nurl = "redis://:%s@h:port"\n',
    redis_scheme = '[redis]\nurl = "http://:%s@h"\n',
    redis_database = '[redis]\nurl = "redis://:%s@h/x"\n',
    redis_slash = '[redis]\nurl = "redis://:a/%s@h:1"\n',
    redis_at = '[redis]\nurl = "redis://:a@%s@h:x"\n',
    set_unknown = { args = { "--set", "database.password=%s" } },
    set_alone = { args = { "--set", "postgres://u:%s@h/d" } },
    set_token = { args = { "--set", "server.admin_token=%s" } },
    flag = { args = { "--listen", "http://u:%s@h" } },
    env_unknown = { env = { TIDEPOOL_DATABASE__PASSWORD = "%s" } },
    env_token = { env = { TIDEPOOL_SERVER__ADMIN_TOKEN = "%s" } },
    env_url = { env = { DATABASE_URL = "postgres://u:a/%s@h:x/d" } },
    env_redis = { env = { REDIS_URL = "redis://:%s@h:x" } },
    dotenv_word = { dotenv = "PASSWORD %s\n" },
    dotenv_quote = { dotenv = "DATABASE_URL='postgres://u:%s@h/d\n" },
    dotenv_url = { dotenv = "DATABASE_URL=postgres://u:%s@h:x/d\n" },
    reference_name = '[database]\npostgres_url = "postgres://u:${A-%s}@h/d"\n',
    file = { toml = '[database]\npostgres_url = { file = "url" }\n',
      files = { url = "postgres://u:%s@h:port/d\n" } },
    file_table = '[database]\npostgres_url = { fil = "%s" }\n',
    command_list = '[database]\npassword_command = ["echo", "%s"]\n',
    policy = '[policy]\nuse = "postgres://u:%s@h/d"\n',
  }

  local function fill(value, text)
    if type(value) == "string" then
      return (value:gsub("%%s", text):gsub("%%%%", "%%"))
    end
    local result = {}
    for key, part in pairs(value or {}) do result[key] = fill(part, text) end
    return result
  end

  for name, wrong in pairs(WRONG) do
    it("is refused without a secret: " .. name, function()
      local case = fill(type(wrong) == "table" and wrong or { toml = wrong },
        secret(name:gsub("_", "")))
      local files = case.files or {}
      files["tidepool.toml"], files[".env"] = case.toml or "", case.dotenv
      local directory = project(files)
      for _, command in ipairs { { "check", "app.lua", "--print", "--offline" },
        { "run", "app.lua", "--listen", "127.0.0.1:0" } } do
        local args = { unpack(command) }
        for _, arg in ipairs(case.args or {}) do args[#args + 1] = arg end
        local status, output = run(directory, args, case.env)
        assert.are_not.equal(0, status, output)
        assert.is_true(#output > 0)
        assert_silent(output, table.concat(command, " "))
      end
    end)
  end
end)

describe("A command line that is wrong", function()
  local WRONG = {
    { "run", "postgres://u:%s@h/d" },
    { "run", "app.lua", "postgres://u:%s@h/d" },
    { "run", "app.lua", "--postgres-url=postgres://u:%s@h/d" },
    { "run", "app.lua", "--password=%s" },
    { "check", "postgres://u:%s@h/d" },
    { "load", "http://u:%s@127.0.0.1:1/" },
    { "load", "http://u:%s@127.0.0.1:x/" },
    { "load", "http://127.0.0.1:1/", "http://u:%s@127.0.0.1:1/" },
    { "top", "http://u:%s@127.0.0.1:1", "--once" },
    { "top", "http://u:%s@127.0.0.1:x", "--once" },
    { "tune", "postgres://u:%s@127.0.0.1:1/d" },
    { "tune", "postgres://u:%s@nowhere.invalid/d" },
    { "tune", "redis://:%s@127.0.0.1:1" },
    { "tune", "mysql://u:%s@127.0.0.1:1/d" },
    { "tune", "u:%s@127.0.0.1" },
    { "postgres://u:%s@h/d" },
  }

  for i, words in ipairs(WRONG) do
    it("is refused without a secret: " .. table.concat(words, " "), function()
      local args = {}
      for j, word in ipairs(words) do args[j] = word:gsub("%%s", secret("line" .. i)) end
      local status, output = run(project {}, args)
      assert.are_not.equal(0, status, output)
      assert_silent(output, table.concat(words, " "))
    end)
  end
end)

describe("A service", function()
  local pg, redis

  setup(function()
    pg = must(servers.postgres { directory = support.directory .. "/secrets-pg",
      tcp = true, password = secret "right" })
    redis = must(servers.redis { directory = support.directory .. "/secrets-redis",
      tcp = true, password = secret "redis" })
  end)

  teardown(function()
    pg:stop()
    redis:stop()
  end)

  local function with(url, was, now) return (url:gsub(was, now)) end

  local function config()
    local wrong = with(pg.url, secret "right", secret "wrong")
    local without = with(pg.url, ":" .. secret "right" .. "@", "@")
    local lines = {
      '[database]', 'postgres_url = "' .. pg.url .. '"', 'trace = "comment"',
      '[database.wrong]', 'postgres_url = "' .. wrong .. '"',
      '[database.named]',
      'postgres_url = "' .. with(wrong, "//[^:]+:", "//nobody:") .. '"',
      '[database.refused]',
      ('postgres_url = "postgres://u:%s@127.0.0.1:1/d"'):format(secret "refused"),
      '[database.unknown]',
      ('postgres_url = "postgres://u:%s@nowhere.invalid/d"'):format(secret "unknown"),
      '[database.command]', 'postgres_url = "' .. without .. '"',
      ('password_command = "echo %s"'):format(secret "printed"),
      '[database.failing]', 'postgres_url = "' .. without .. '"',
      ('password_command = "echo %s; echo more; exit 3"'):format(secret "failing"),
      '[redis]', 'url = "' .. redis.url .. '"',
      '[redis.wrong]',
      'url = "' .. with(redis.url, secret "redis", secret "rediswrong") .. '"',
      '[redis.named]',
      'url = "' .. with(redis.url, "//:?", "//" .. "nobody:") .. '"',
      '[redis.refused]',
      ('url = "redis://:%s@127.0.0.1:1"'):format(secret "redisrefused"),
      '[redis.unknown]',
      ('url = "redis://:%s@nowhere.invalid"'):format(secret "redisunknown"),
      '[server]', ('admin_token = "%s-0123456789"'):format(secret "token"),
      'listen = "127.0.0.1:0"', 'admin = "127.0.0.1:0"',
      '[log]', 'level = "debug"', 'access = true',
      '[record]', 'file = "run.trace"', 'dump_dir = "."', "",
    }
    return table.concat(lines, "\n")
  end

  local PAGES = { "/health", "/health/live", "/health/ready", "/health/pools", "/metrics",
    "/pools", "/pools/main", "/pools/wrong", "/pools/command", "/pools/redis.wrong",
    "/pools/main/events", "/pools/wrong/events", "/pools/redis.wrong/events", "/nowhere" }

  local function read(path)
    local file = must(io.open(path, "rb"))
    local text = file:read "*a"
    file:close()
    return text
  end

  -- Starts it; gives its directory, the process and its two addresses.
  local function start(args)
    local directory = project { ["tidepool.toml"] = config() }
    local process = must(core.process {
      args = { PROGRAM, "run", "app.lua", unpack(args) }, cwd = directory,
      log = directory .. "/log",
      env = { TIDEPOOL_DATABASE__FAILING__REQUIRED = "false" },
    })
    support.at_end(function()
      process:signal "KILL"
      pcall(process.wait, process)
    end)
    local main, admin
    support.eventually("it serves", function()
      local log = read(directory .. "/log")
      main = log:match "\nlistening on http://(%S+)"
        or log:match "^listening on http://(%S+)"
      admin = log:match "admin listening on http://(%S+)"
      return main and admin
    end, 30)
    return directory, process, main, admin
  end

  local function visit(main, admin)
    local _, _, said = support.request(main, "GET", "/ask?key=" .. secret "query")
    assert.matches("main: nil", said)
    assert.matches("password authentication failed", said)
    assert.matches("WRONGPASS", said)
    assert_silent(said, "an err")
    local token = secret "token" .. "-0123456789"
    local asked = {}
    for i, page in ipairs(PAGES) do
      asked[i] = function()
        local _, _, body = support.request(admin, "GET", page, nil,
          { Authorization = "Bearer " .. token })
        assert_silent(body, page)
        return true
      end
    end
    must(tide.all(asked))
    local status, _, body = support.request(admin, "PATCH", "/pools/main",
      ('{"url":"%s"}'):format(secret "patch"), { Authorization = "Bearer " .. token })
    assert.are.equal(400, status)
    assert_silent(body, "PATCH")
    status, _, body = support.request(admin, "POST", "/reload", nil,
      { Authorization = "Bearer " .. secret "guess" })
    assert.are.equal(401, status)
    assert_silent(body, "a refusal")
  end

  local function assert_files_silent(directory)
    local _, names = must(core.process { args = { "ls", directory } }):wait()
    local seen = 0
    for name in names:gmatch "[^\n]+" do
      if name ~= "tidepool.toml" then
        local _, text = must(core.process {
          args = { "zcat", "-f", directory .. "/" .. name } }):wait()
        assert_silent(text, name)
        seen = seen + 1
      end
    end
    assert.is_true(seen >= 3)
  end

  for name, args in pairs { one = {}, workers = { "--workers", "2" } } do
    it("tells none to anybody: " .. name, function()
      local directory, process, main, admin = start(args)
      visit(main, admin)
      process:signal "TERM"
      process:wait()
      local log = read(directory .. "/log")
      assert.matches("password authentication failed", log)
      assert.matches("msg=request ", log)
      assert_files_silent(directory)
    end)
  end

  it("has none in the dump of a crash", function()
    local directory, process, main, admin = start {}
    visit(main, admin)
    must(core.process { args = { "kill", "-ABRT", tostring(process:pid()) } }):wait()
    process:wait()
    assert.matches("%.trace", read(directory .. "/log"))
    assert_files_silent(directory)
  end)

  it("shows none to who checks or prints its configuration", function()
    local directory = project { ["tidepool.toml"] = config() }
    local _, output = run(directory, { "check", "app.lua", "--print" })
    assert.matches("database%.wrong%.postgres_url = ", output)
    assert_silent(output, "check --print")
  end)

  it("shows none to who lists processes", function()
    local directory = project {}
    local token = secret "argtoken" .. "-0123456789"
    local process = must(core.process {
      args = { PROGRAM, "run", "app.lua", "--listen", "127.0.0.1:0",
        "--set", "database.postgres_url=postgres://u:" .. secret "argument" .. "@h/d",
        "--set", "redis.url=redis://:" .. secret "argredis" .. "@h",
        "--set=server.admin_token=" .. token, "--workers", "2" },
      cwd = directory, log = directory .. "/log",
    })
    support.at_end(function()
      process:signal "KILL"
      pcall(process.wait, process)
    end)
    support.eventually("it serves", function()
      return read(directory .. "/log"):find "listening on"
    end, 30)
    local ps = must(core.process { args = { "ps", "-eo", "pid,ppid,args" } })
    local _, listed = ps:wait()
    local seen = 0
    for line in listed:gmatch "[^\n]+" do
      local pid, parent = line:match "^%s*(%d+)%s+(%d+)"
      if tonumber(pid) == process:pid() or tonumber(parent) == process:pid() then
        assert.matches("run app%.lua ", line)
        assert_silent(line, "ps")
        seen = seen + 1
      end
    end
    assert.are.equal(3, seen)
    process:signal "TERM"
    assert.are.equal(0, (process:wait()))
  end)
end)
