-- config_spec.lua - the layers of the configuration, its checks and its messages.

local config = require "tidepool.config"
local core = require "tidepool.core"

local SEED = [[
[database]
postgres_url = "postgres://app:secret@127.0.0.1:5432/app"
[database.pool]
max_connections = 15
min_connections = 5
connection_timeout = 30
idle_timeout = 600
max_lifetime = 1800
]]

-- Loads with these files (name -> text) and nothing of the machine's own environment.
local function load(files, options)
  options = options or {}
  options.environment = options.environment or {}
  function options.read(path)
    if files[path] then return files[path] end
    return nil, "No such file or directory", 2
  end
  return config.load(options)
end

local function value_of(files, path, options)
  local loaded, problems = load(files, options)
  assert(loaded, table.concat(problems or {}, "\n"))
  return loaded:get(path)
end

local function problems_of(files, options)
  local loaded, problems = load(files, options)
  assert.is_nil(loaded)
  return problems
end

-- The one problem of a file with this text.
local function problem_of(text)
  local problems = problems_of { ["tidepool.toml"] = text }
  assert.equal(1, #problems)
  return problems[1]
end

describe("config.load", function()
  it("forgets the password_command of a pool that gets another server", function()
    local loaded = assert(load { ["tidepool.toml"] = [[
      [redis.sessions]
      url = "redis://far"
      password_command = "pass redis"
    ]] })
    local before = loaded:pools()[1]
    loaded:point(before.section, "redis://near", "test")
    local after = loaded:pools()[1]
    assert.same({ "redis://far", "pass redis" }, { before.url, before.password_command })
    assert.same({ "redis://near", "test" }, { after.url, after.source })
    assert.is_nil(after.password_command)
  end)

  it("reads the seed file as it is written", function()
    local loaded = assert(load { ["config/local.toml"] = SEED })

    assert.same({
      {
        kind = "postgres", name = "main", label = "main", section = "database",
        url = "postgres://app:secret@127.0.0.1:5432/app",
        source = "config/local.toml:2", required = true,
        application_name = "tidepool",
        settings = { max_connections = 15, min_connections = 5, acquire_timeout = 30,
                     idle_timeout = 600, max_lifetime = 1800 },
      },
    }, loaded:pools())
    assert.equal("config/local.toml", loaded.file)
    assert.is_nil(loaded.unread)
  end)

  it("has defaults and no pool without any file", function()
    local loaded = assert(load {})

    assert.same({}, loaded:pools())
    local limits = core.http_limits() -- what the server itself takes
    limits.max_headers = nil -- is no setting
    assert.same({ listen = "127.0.0.1:8080", drain = 30, workers = 0,
        worker_timeout = 10, drain_delay = 0, request_timeout = 0, trace_sample = 0.01,
        confine = false, limits = limits, tls = {} },
      loaded.server)
    assert.same({ level = "info", format = "logfmt", access = false, access_sample = 1,
      access_slow = 1 }, loaded.log)
    assert.same({ 30, "default" }, { loaded:get("server.drain") })
  end)

  it("names the redis pool apart from the postgres one", function()
    local loaded = assert(load { ["tidepool.toml"] = '[redis]\nurl = "redis://h:1"\n' })
    local pool = loaded:pools()[1]

    assert.same({ "redis", "main", "redis" }, { pool.kind, pool.name, pool.label })
  end)

  it("has pools with names, each with its own settings", function()
    local loaded = assert(load({ ["tidepool.toml"] = [[
[database]
postgres_url = "postgres://h/main"
[database.pool]
max_connections = 15
[database.reports]
postgres_url = "postgres://h/reports"
required = false
[database.reports.pool]
max_connections = 4
connection_timeout = "2s"
[redis.sessions]
url = "redis://h:1"
]] }, { environment = {
      TIDEPOOL_REDIS__SESSIONS__POOL__MAX_CONNECTIONS = "3",
      TIDEPOOL_DATABASE__AUDIT__POSTGRES_URL = "postgres://h/audit",
    }, sets = { "database.reports.pool.idle_timeout=5" } }))
    assert.same({
      { kind = "postgres", name = "main", label = "main", url = "postgres://h/main",
        application_name = "tidepool", section = "database",
        source = "tidepool.toml:2", required = true,
        settings = { max_connections = 15 } },
      { kind = "postgres", name = "audit", label = "audit", url = "postgres://h/audit",
        application_name = "tidepool", section = "database.audit",
        source = "environment: TIDEPOOL_DATABASE__AUDIT__POSTGRES_URL", required = true,
        settings = {} },
      { kind = "postgres", name = "reports", label = "reports",
        url = "postgres://h/reports", section = "database.reports",
        application_name = "tidepool", source = "tidepool.toml:6", required = false,
        settings = { max_connections = 4, acquire_timeout = 2, idle_timeout = 5 } },
      { kind = "redis", name = "sessions", label = "redis.sessions",
        section = "redis.sessions", url = "redis://h:1", source = "tidepool.toml:12",
        required = true,
        settings = { max_connections = 3 } },
    }, loaded:pools())
    local lines = table.concat(loaded:describe(), "\n")
    assert.matches("\ndatabase%.reports%.pool%.max_connections = 4  # tidepool%.toml:9\n",
      lines)
  end)

  it("finds what is wrong with pools that have names", function()
    assert.equal("tidepool.toml:2: [database.reports] has no postgres_url",
      problem_of "[database.reports.pool]\nmax_connections = 4\n")
    assert.matches("tidepool.toml:3: unknown key database.reports.pool.max_conections; "
      .. "did you mean max_connections%?",
      problem_of('[database.reports]\npostgres_url = "postgres://h/r"\n'
        .. "pool.max_conections = 4\n"))
    assert.matches("tidepool.toml:2: unknown key database.pol.max_connections",
      problem_of "[database.pol]\nmax_connections = 4\n")
    assert.equal("tidepool.toml:2: [database.main]: main is the name of the pool in "
      .. "[database]", problem_of '[database.main]\npostgres_url = "postgres://h"\n')
    assert.equal("tidepool.toml:2: [database.redis]: redis is the name of the pool in "
      .. "[redis]", problem_of '[database.redis]\npostgres_url = "postgres://h"\n')
    assert.matches("min_connections: expected at most max_connections, which is 2",
      problem_of('[redis.a]\nurl = "redis://h"\n[redis.a.pool]\nmax_connections = 2\n'
        .. "min_connections = 3\n"))
  end)

  it("puts variables into texts of a file", function()
    local files = {
      ["tidepool.toml"] = "[database]\npostgres_url = "
        .. '"postgres://${PGUSER:-app}:${SECRET}@${HOST}/a$${b}"\n',
      [".env"] = "SECRET=from-env-file\nHOST=h1\n",
    }
    assert.equal("postgres://app:from-env-file@h2/a${b}",
      value_of(files, "database.postgres_url", { environment = { HOST = "h2" } }))
    files[".env"] = nil
    assert.same({
      "tidepool.toml:2: database.postgres_url: ${SECRET} is not set in the environment, "
        .. "nor in .env",
    }, problems_of(files, { environment = { HOST = "h" } }))
  end)

  it("takes secrets from files of their own", function()
    local files = {
      ["tidepool.toml"] = '[database]\npostgres_url = { file = "/run/${NAME}" }\n',
      ["/run/db"] = "postgres://u:pw@h/d\n", ["/run/cache"] = "redis://:pw@h:1",
    }
    local open = { ["/run/cache"] = true }
    local loaded = assert(load(files, {
      environment = { NAME = "db", REDIS_URL_FILE = "/run/cache" },
      is_open_to_all = function(path) return open[path] end,
    }))
    assert.same({ "postgres://u:pw@h/d", "tidepool.toml:2 from /run/db" },
      { loaded:get "database.postgres_url" })
    assert.same({ "redis://:pw@h:1", "environment: REDIS_URL_FILE from /run/cache" },
      { loaded:get "redis.url" })
    assert.same({ "environment: REDIS_URL_FILE: everybody may read /run/cache, which "
      .. "holds redis.url" }, loaded.warnings)
    files["/run/db"] = nil
    assert.matches("tidepool.toml:2: database.postgres_url: the file /run/db: ",
      problems_of(files, { environment = { NAME = "db" } })[1])
  end)

  it("takes a text with variables in it as one of the environment", function()
    local files = { ["tidepool.toml"] = "[database.pool]\nmax_connections = '${MAX}'\n"
      .. "idle_timeout = '${IDLE:-5m}'\ntest_before_acquire = '${TEST:-false}'\n" }
    local options = { environment = { MAX = "7" } }
    local loaded = assert(load(files, options))

    assert.equal(7, (loaded:get "database.pool.max_connections"))
    assert.equal(300, (loaded:get "database.pool.idle_timeout"))
    assert.is_false((loaded:get "database.pool.test_before_acquire"))
    options.environment.MAX = "many"
    assert.same({ "tidepool.toml:2: database.pool.max_connections: expected a whole "
      .. 'number from 1 to 10000, found "many"' }, problems_of(files, options))
  end)

  it("puts variables into the values of .env", function()
    local files = { [".env"] = table.concat({
      "PW='s${x}'", "HOST=${NAME:-h}", "DATABASE_URL=postgres://u:${PW}@${HOST}/d",
      'REDIS_URL="redis://:\\${PW}@${HOST}"', "OTHER=${NOBODY}", "" }, "\n") }
    local options = { environment = { NAME = "n" } }
    local loaded = assert(load(files, options))

    assert.equal("postgres://u:s${x}@n/d", (loaded:get "database.postgres_url"))
    assert.equal("redis://:${PW}@n", (loaded:get "redis.url"))
    options.environment.PW = "of-the-environment"
    assert.equal("postgres://u:of-the-environment@n/d",
      value_of(files, "database.postgres_url", options))
  end)

  it("says which variable cannot be put in", function()
    local function problem(value)
      local text = "A=${B}\nB=${A}\nE=\nREDIS_URL=" .. value .. "\n"
      return problems_of({ [".env"] = text })[1]
    end

    assert.equal(".env:4: REDIS_URL: ${NO} is not set in the environment, nor in .env",
      problem "${NO}")
    assert.equal(".env:4: REDIS_URL: ${E} is not set in the environment, nor in .env",
      problem "${E}")
    assert.equal(".env:4: REDIS_URL: ${A} stands for itself", problem "${A}")
    assert.equal(".env:4: REDIS_URL: expected ${NAME} or ${NAME:-default}, found ${C...",
      problem "${C-secret}")
    assert.equal(".env:4: REDIS_URL: expected ${NAME} or ${NAME:-default}, found ${...",
      problem "${}")
  end)

  it("takes the urls of all pools from files that variables name", function()
    local files = { ["/run/main"] = "postgres://h/main\r\n\n",
                    ["/run/reports"] = "postgres://h/reports",
                    [".env"] = "TIDEPOOL_DATABASE__POSTGRES_URL_FILE=/run/${WHICH}\n" }
    local options = { environment = { WHICH = "main",
      TIDEPOOL_DATABASE__REPORTS__POSTGRES_URL_FILE = "/run/reports" } }
    local loaded = assert(load(files, options))

    assert.same({ "postgres://h/main",
      ".env:1: TIDEPOOL_DATABASE__POSTGRES_URL_FILE from /run/main" },
      { loaded:get "database.postgres_url" })
    assert.same({ "postgres://h/reports", "environment: "
      .. "TIDEPOOL_DATABASE__REPORTS__POSTGRES_URL_FILE from /run/reports" },
      { loaded:get "database.reports.postgres_url" })
    files["/run/reports"] = "\n"
    assert.same({ "environment: TIDEPOOL_DATABASE__REPORTS__POSTGRES_URL_FILE from "
      .. "/run/reports: database.reports.postgres_url: expected a url such as "
      .. 'postgres://user@host:5432/name, or { file = "PATH" }, found ""' },
      problems_of(files, options))
  end)

  it("refuses a url and its file side by side, in one layer", function()
    local files = { ["/run/url"] = "redis://file", [".env"] = "REDIS_URL=redis://env\n" }
    local environment = { REDIS_URL = "redis://h", REDIS_URL_FILE = "/run/url" }

    assert.same({ "environment: REDIS_URL_FILE: set beside environment: REDIS_URL; leave "
      .. "one of them out" }, problems_of(files, { environment = environment }))
    environment.REDIS_URL = ""
    assert.equal("redis://file",
      value_of(files, "redis.url", { environment = environment }))
  end)

  it("takes only secrets from files", function()
    local text = '[log]\nlevel = { file = "/run/level" }\n'

    assert.equal("tidepool.toml:2: log.level: expected one of debug, info, warn, error, "
      .. "found a table", problem_of(text))
    assert.same({ "environment: TIDEPOOL_LOG__LEVEL_FILE: unknown key log.level_file" },
      problems_of({}, { environment = { TIDEPOOL_LOG__LEVEL_FILE = "/run/level" } }))
  end)

  it("prefers config/local.toml to tidepool.toml, and --config to both", function()
    local files = {
      ["config/local.toml"] = '[log]\nlevel = "debug"\n',
      ["tidepool.toml"] = '[log]\nlevel = "warn"\n',
      ["other.toml"] = '[log]\nlevel = "error"\n',
    }

    local loaded = assert(load(files))
    assert.equal("debug", loaded.log.level)
    assert.same({ "config/local.toml", "tidepool.toml" }, { loaded.file, loaded.unread })
    assert.same({ "tidepool.toml is not read, because config/local.toml is" },
      loaded.warnings)
    assert.equal("error", value_of(files, "log.level", { file = "other.toml" }))
    files["config/local.toml"] = nil
    assert.equal("warn", value_of(files, "log.level"))
  end)

  it("lets each layer win over those before it and remembers which", function()
    local files = { ["tidepool.toml"] = "[database.pool]\nmax_connections = 1\n" }
    local path = "database.pool.max_connections"
    local options = {}
    local function found() return { value_of(files, path, options) } end

    assert.same({ 1, "tidepool.toml:2" }, found())
    files[".env"] = "# here\nTIDEPOOL_DATABASE__POOL__MAX_CONNECTIONS=2\n"
    assert.same({ 2, ".env:2: TIDEPOOL_DATABASE__POOL__MAX_CONNECTIONS" }, found())
    options.environment = { TIDEPOOL_DATABASE__POOL__MAX_CONNECTIONS = "3" }
    assert.same({ 3, "environment: TIDEPOOL_DATABASE__POOL__MAX_CONNECTIONS" }, found())
    options.sets = { path .. "=4", path .. "=5" }
    assert.same({ 5, "--set" }, found())
  end)

  it("takes flags over everything", function()
    local options = {
      sets = { "server.listen=127.0.0.1:1" },
      flags = { ["server.listen"] = { name = "--listen", value = "unix:/tmp/s" } },
    }

    assert.same({ "unix:/tmp/s", "--listen" }, { value_of({}, "server.listen", options) })
  end)

  it("reads DATABASE_URL and REDIS_URL, and its own names before them", function()
    local environment = { DATABASE_URL = "postgres://one", REDIS_URL = "redis://one",
                          TIDEPOOL_REDIS__URL = "redis://two", HOME = "/" }
    local loaded = assert(load({}, { environment = environment }))

    assert.equal("postgres://one", (loaded:get("database.postgres_url")))
    assert.equal("redis://two", (loaded:get("redis.url")))
  end)

  it("counts an empty variable as not set", function()
    local loaded = assert(load({}, { environment = { DATABASE_URL = "" } }))

    assert.same({}, loaded:pools())
  end)

  it("leaves other programs' variables alone", function()
    assert(load({}, { environment = { TIDEPOOL_BIN = "x", TIDEPOOL__X = "y" } }))
    assert(load { [".env"] = "DATABASE=${NOT_SET}\nDATABASE=2\nTIDEPOOL=1\n" })
  end)

  it("knows its own variables where an underscore is missing", function()
    for name, meant in pairs {
      TIDEPOOL_DATABASE_POOL_MAX_CONNECTIONS = "TIDEPOOL_DATABASE__POOL__MAX_CONNECTIONS",
      TIDEPOOL_REDIS__POOL_LANES = "TIDEPOOL_REDIS__POOL__LANES",
      TIDEPOOL_SERVER_LISTEN = "TIDEPOOL_SERVER__LISTEN",
      TIDEPOOL_DATABASE_POSTGRES_URL = "TIDEPOOL_DATABASE__POSTGRES_URL",
      TIDEPOOL_DATABASE_URL = "DATABASE_URL",
      TIDEPOOL_REDIS_URL = "REDIS_URL",
    } do
      assert.same({ ("environment: %s: unknown; did you mean %s?"):format(name, meant) },
        problems_of({}, { environment = { [name] = "1" } }))
    end
  end)

  it("warns of a setting that stands twice in .env", function()
    local loaded = assert(load { [".env"] =
      "REDIS_URL=redis://one\nOTHER=1\nOTHER=2\nREDIS_URL=redis://two\n" })

    assert.equal("redis://two", (loaded:get "redis.url"))
    assert.same({ ".env:4: REDIS_URL: set again, what line 1 says does not count" },
      loaded.warnings)
  end)

  it("has no url with white space around it", function()
    local files = { ["tidepool.toml"] = '[redis]\nurl = """\n  redis://h\n"""\n' }

    assert.equal("redis://h", (value_of(files, "redis.url")))
  end)

  it("says what is wrong with a url of Postgres, and nothing of what it is", function()
    local options = { environment = { DATABASE_URL = "postgres://u:s3/cret@h/d" } }

    assert.same({ "environment: DATABASE_URL: database.postgres_url: the port is not a "
      .. "number from 1 to 65535 (in a user or password, write %2F for '/', %40 for '@', "
      .. "%3A for ':')" }, problems_of({}, options))
  end)

  it("keeps an alias and its name as one setting over layers", function()
    local files = { ["tidepool.toml"] = "[database.pool]\nacquire_timeout = 1\n" }
    local options = { sets = { "database.pool.connection_timeout=2s" } }

    assert.equal(2, (value_of(files, "database.pool.acquire_timeout", options)))
  end)
end)

describe("values", function()
  local function timeout(text)
    return (value_of({ ["tidepool.toml"] = "[server]\ndrain = " .. text .. "\n" },
      "server.drain"))
  end

  it("may be times as seconds or with a unit", function()
    assert.equal(30, timeout "30")
    assert.equal(0.25, timeout "0.25")
    assert.equal(0.5, timeout '"500ms"')
    assert.equal(30, timeout '"30s"')
    assert.equal(300, timeout '"5m"')
    assert.equal(5400, timeout '"1.5h"')
  end)

  it("may be texts where they come from a flag or the environment", function()
    local options = { sets = { "server.drain=5", "database.pool.max_connections=7",
                               "database.pool.test_before_acquire=false" } }
    local loaded = assert(load({}, options))

    assert.equal(5, (loaded:get("server.drain")))
    assert.equal(7, (loaded:get("database.pool.max_connections")))
    assert.is_false((loaded:get("database.pool.test_before_acquire")))
  end)

  for _, address in ipairs { "127.0.0.1:0", "localhost:80", "[::1]:80", "unix:/run/a" } do
    it("may be the address " .. address, function()
      local options = { sets = { "server.admin=" .. address } }
      assert.equal(address, (value_of({}, "server.admin", options)))
    end)
  end

  for _, address in ipairs { "80", ":80", "host", "h:65536", "h:x", "::1:80", "unix:" } do
    it("may not be the address " .. address, function()
      local problems = problems_of({}, { sets = { "server.admin=" .. address } })
      assert.equal('--set: server.admin: expected HOST:PORT or unix:PATH, found "'
        .. address .. '"', problems[1])
    end)
  end
end)

describe("a wrong configuration", function()
  it("names file, line, key and the nearest known name", function()
    assert.equal("tidepool.toml:2: unknown key database.pool.max_conections; "
      .. "did you mean max_connections?",
      problem_of "[database.pool]\nmax_conections = 15\n")
    assert.equal("tidepool.toml:1: unknown key databse; did you mean database?",
      problem_of "[databse]\nx = 1\n")
    assert.equal("tidepool.toml:1: unknown key min_connections; "
      .. "did you mean database.pool.min_connections?",
      problem_of "min_connections = 1\n")
    assert.equal("tidepool.toml:1: unknown key pool; did you mean database.pool?",
      problem_of "[pool]\nmax_connections = 1\n")
    assert.equal("tidepool.toml:1: unknown key something", problem_of "something = 1\n")
    assert.equal("tidepool.toml:1: unknown key postgres; did you mean database?",
      problem_of "[postgres]\nurl = 1\n")
    assert.equal("tidepool.toml:2: unknown key database.url; did you mean postgres_url?",
      problem_of "[database]\nurl = 1\n")
    assert.equal("tidepool.toml:2: unknown key redis.pool.max; "
      .. "did you mean max_connections?", problem_of "[redis.pool]\nmax = 1\n")
    assert.equal("tidepool.toml:1: unknown key database.Reports; "
      .. "did you mean database.reports?", problem_of "[database.Reports]\nx = 1\n")
  end)

  it("says what was expected and what was found", function()
    local pool = "[database.pool]\n"
    for _, name in ipairs { "max_connections = '20'", "idle_timeout = '30'",
                            "test_before_acquire = 'true'" } do
      assert.matches("found \".*\"; it stands without quotes$", problem_of(pool .. name))
    end
    for _, wrong in ipairs { '"many"', "0", "1.5", "9223372036854775807" } do
      assert.equal("tidepool.toml:2: database.pool.max_connections: expected "
        .. "a whole number from 1 to 10000, found " .. wrong,
        problem_of(pool .. "max_connections = " .. wrong .. "\n"))
    end
    assert.equal("tidepool.toml:2: database.pool.test_before_acquire: expected true or "
      .. 'false, found "yes"', problem_of(pool .. 'test_before_acquire = "yes"\n'))
    assert.equal("tidepool.toml:2: database.pool.idle_timeout: expected seconds or "
      .. 'a text like "500ms", "30s", "5m", "1h", from 0.01 to 864000 seconds, '
      .. 'found "10 days"',
      problem_of(pool .. 'idle_timeout = "10 days"\n'))
    assert.equal('tidepool.toml:2: log.level: expected one of debug, info, warn, error, '
      .. 'found "loud"', problem_of '[log]\nlevel = "loud"\n')
    assert.equal("tidepool.toml:2: server.listen: expected HOST:PORT or unix:PATH, "
      .. "found 1979-05-27", problem_of "[server]\nlisten = 1979-05-27\n")
  end)

  it("tells sections from values", function()
    assert.equal("tidepool.toml:1: database: expected a section [database], found 5",
      problem_of "database = 5\n")
    assert.equal("tidepool.toml:1: redis: expected a section [redis], found an array",
      problem_of "[[redis]]\n")
    assert.equal("tidepool.toml:1: redis.url: expected a url such as redis://host:6379, "
      .. 'or { file = "PATH" }, found a table', problem_of "[redis.url]\n")
  end)

  it("takes a number of workers, or one a core", function()
    assert.equal("tidepool.toml:2: server.workers: expected a whole number from 0 to 64, "
      .. 'or "auto", found 65', problem_of "[server]\nworkers = 65\n")
    local options = { sets = { "server.workers=auto" } }
    assert.equal(core.cores(), (value_of({}, "server.workers", options)))
  end)

  it("passes on what is wrong with the file", function()
    assert.equal("tidepool.toml:2: 'yes' is not a value; a text needs quotes",
      problem_of "[server]\nlisten = yes\n")
    assert.same({ "nowhere.toml: No such file or directory" },
      problems_of({}, { file = "nowhere.toml" }))
    assert.same({ ".env:2: expected NAME=value; a value of several lines stands in "
      .. "quotes" }, problems_of { [".env"] = "A=1\nwhat\n" })
  end)

  it("finds all that is wrong, in the order of the lines", function()
    local problems = problems_of({ ["tidepool.toml"] =
      "zoo = 1\n[server]\nport = 1\ndrain = -1\n\n\n\n\n[log]\nlevel = 1\n" },
      { sets = { "nothing" }, environment = { TIDEPOOL_LOG__LEVEL = "x" } })

    assert.equal(6, #problems)
    assert(problems[1]:find("tidepool.toml:1: ", 1, true))
    assert(problems[2]:find("tidepool.toml:3: ", 1, true))
    assert(problems[3]:find("tidepool.toml:4: ", 1, true))
    assert(problems[4]:find("tidepool.toml:10: ", 1, true))
    assert(problems[5]:find("environment: TIDEPOOL_LOG__LEVEL: log.level: ", 1, true))
    assert.equal('--set: expected KEY=VALUE, found "nothing"', problems[6])
  end)

  it("compares min_connections with max_connections, naming both places", function()
    assert.equal("tidepool.toml:3: database.pool.min_connections: expected at most "
      .. "max_connections, which is 4 (tidepool.toml:2), found 5",
      problem_of "[database.pool]\nmax_connections = 4\nmin_connections = 5\n")
    local limit = core.cores() * 2 + 1
    assert.equal(("tidepool.toml:2: redis.pool.min_connections: expected at most "
      .. "max_connections, which is %d (by the cores), found 5000"):format(limit),
      problem_of "[redis.pool]\nmin_connections = 5000\n")
  end)

  it("refuses a setting under both of its names", function()
    local problem = problem_of
      "[database.pool]\nacquire_timeout = 1\nconnection_timeout = 2\n"
    assert(problem:find("is another name of", 1, true), problem)
  end)
end)

describe("secrets", function()
  it("are masked where the values are listed", function()
    local loaded = assert(load({ ["tidepool.toml"] = SEED }))
    local text = table.concat(loaded:describe(), "\n")

    assert.is_nil(text:find("secret", 1, true))
    assert(text:find('database.postgres_url = "postgres://app:***@127.0.0.1:5432/app"  '
      .. "# tidepool.toml:2\n", 1, true), text)
    assert(text:find("database.pool.acquire_timeout = 30  # tidepool.toml:6\n", 1, true))
    assert(text:find("server.drain = 30  # default", 1, true))
    assert(text:find("server.limits.max_body_bytes = 1048576  # default\n", 1, true))
  end)

  it("do not hide what the runtime takes where nothing is set", function()
    local loaded = assert(load({ ["tidepool.toml"] = SEED }))
    local text = table.concat(loaded:describe {
      ["database.pool.max_connections"] = 5, ["database.pool.statement_timeout"] = 30,
      ["redis.b.pool.lanes"] = 3, ["redis.a.pool.test_before_acquire"] = true,
    }, "\n")

    assert(text:find("database.pool.max_connections = 15  # tidepool.toml:4\n", 1, true))
    assert(text:find("database.pool.statement_timeout = 30  # default\n", 1, true))
    assert.matches("\nredis%.a%.pool%.test_before_acquire = true  # default\n"
      .. "redis%.b%.pool%.lanes = 3  # default$", text)
  end)

  it("are masked in what is wrong", function()
    local problem = problem_of '[server]\nlisten = "postgres://a:secret@h/d"\n'

    assert.is_nil(problem:find("secret", 1, true))
  end)
end)
