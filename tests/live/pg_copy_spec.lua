-- COPY in and out by chunks.

local core = require "tidepool.core"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

describe("COPY", function()
  local db

  setup(function()
    db = support.postgres { max_connections = 3 }
    must(db:exec "CREATE TABLE item (id int PRIMARY KEY, word text, data jsonb)")
  end)

  before_each(function() must(db:exec "TRUNCATE item") end)

  local function count() return must(db:one "SELECT count(*)::int AS n FROM item").n end

  local function is_clean()
    support.given_back(db)
    assert.are.equal(1, must(db:one "SELECT 1 AS n").n)
  end

  describe("in", function()
    it("takes rows, and every value comes through", function()
      local rows = {
        { 1, "plain", core.null },
        { 2, "tab\tnewline\nreturn\rback\\slash", { a = "x\\y" } },
        { 3, "", { 1, 2 } }, { 4, "\\N", nil }, { 5, nil, 7 },
        { 2 ^ 31 - 1, "ünï", 1.5 },
      }
      for i, row in ipairs(rows) do row.n = i and 3 end
      assert.are.equal(6, must(db:copy_in("COPY item FROM STDIN", rows)))
      local got = must(db:query "SELECT id, word, data FROM item ORDER BY id"):table()
      assert.are.same({ id = 1, word = "plain" }, got[1])
      assert.are.same({ id = 2, word = rows[2][2], data = { a = "x\\y" } }, got[2])
      assert.are.same({ id = 3, word = "", data = { 1, 2 } }, got[3])
      assert.are.same({ id = 4, word = "\\N" }, got[4])
      assert.is_nil(got[5].word)
      assert.are.equal("ünï", got[6].word)
      is_clean()
    end)

    it("takes text from a function, a string and a file", function()
      local n = 0
      assert.are.equal(1000, must(db:copy_in("COPY item (id, word) FROM STDIN", function()
        n = n + 1
        if n <= 1000 then return ("%d\tword %d\n"):format(n, n) end
      end)))
      assert.are.equal(2, must(db:copy_in(
        "COPY item (id, word) FROM STDIN (FORMAT csv)", '1001,"a, b"\n1002,c\n')))
      local file = assert(io.open(support.file("rows", "2001\tx\n2002\ty\n")))
      assert.are.equal(2, must(db:copy_in("COPY item (id, word) FROM STDIN", file)))
      file:close()
      assert.are.equal(1004, count())
    end)

    it("refuses rows where the statement may want another format than theirs", function()
      local rows = { { 1, "a\tb" }, { 2, tide.null } }
      for _, options in ipairs {
        "(FORMAT csv)", "WITH (FORMAT 'csv')", "CSV", "(DELIMITER ',')", "WITH NULL 'x'",
        "(FORMAT binary)", "-- csv", "(FORMAT csv) WHERE word <> 'from STDIN'",
      } do
        local ok, err = pcall(db.copy_in, db,
          "COPY item (id, word) FROM STDIN " .. options, rows)
        assert.is_false(ok, options)
        assert.matches("rows are for a COPY ... FROM STDIN without options", err)
      end
      must(db:exec 'CREATE TABLE "from STDIN" (id int, word text)')
      local ok = pcall(db.copy_in, db, 'COPY "from STDIN" FROM STDIN (FORMAT csv)', rows)
      assert.is_false(ok)
      assert.are.equal(0, #must(db:query 'SELECT 1 FROM "from STDIN"'))
      is_clean()
      assert.are.equal(0, count())
    end)

    it("takes rows where the statement has no option", function()
      for i, sql in ipairs {
        "COPY item (id, word) FROM STDIN", "copy item (id, word) from stdin;",
        "COPY item (id, word) FROM\n STDIN WHERE word <> 'from STDIN (FORMAT csv)'",
      } do
        assert.are.equal(1, must(db:copy_in(sql, { { i, "a\tb\\c" } })))
      end
      for _, row in ipairs(must(db:query "SELECT word FROM item")) do
        assert.are.equal("a\tb\\c", row.word)
      end
      assert.are.equal(3, count())
    end)

    it("keeps nothing when the server refuses a row, and says which", function()
      local rows, err = db:copy_in("COPY item (id, word) FROM STDIN",
        "1\ta\nx\tb\n3\tc\n")
      assert.is_nil(rows)
      assert.are.equal("22P02", err.sqlstate)
      assert.matches("COPY item, line 2, column id", err.context)
      assert.are.equal(0, count())
      is_clean()
    end)

    it("ends though much more is to come than the server still takes", function()
      local n = 0
      local rows, err = db:copy_in("COPY item (id, word) FROM STDIN", function()
        n = n + 1
        if n == 1 then return "x\ty\n" end
        if n < 2000 then return ("%d\t%s\n"):format(n, ("z"):rep(1000)) end
      end)
      assert.is_nil(rows)
      assert.are.equal("22P02", err.sqlstate)
      is_clean()
    end)

    it("keeps nothing when the source fails", function()
      local mine = core.err("server", "mine")
      local n = 0
      local rows, err = db:copy_in("COPY item (id) FROM STDIN", function()
        n = n + 1
        if n < 10 then return n .. "\n" end
        return nil, mine
      end)
      assert.is_nil(rows)
      assert.are.equal(mine, err)
      local ok, failure = pcall(db.copy_in, db, "COPY item (id) FROM STDIN", function()
        error("raised", 0)
      end)
      assert.is_false(ok)
      assert.are.equal("raised", failure)
      rows, err = db:copy_in("COPY item (id) FROM STDIN", function() error(mine) end)
      assert.is_nil(rows)
      assert.are.equal(mine, err)
      assert.are.equal(0, count())
      is_clean()
    end)

    it("is part of its transaction", function()
      local result = db:transaction(function(tx)
        assert.are.equal(2, must(tx:copy_in("COPY item (id) FROM STDIN", "1\n2\n")))
        assert.are.equal(2, must(tx:one "SELECT count(*)::int AS n FROM item").n)
        error(core.err("server", "no"), 0)
      end)
      assert.is_nil(result)
      assert.are.equal(0, count())
      must(db:transaction(function(tx)
        local inner = tx:transaction(function(sp)
          return must(sp:copy_in("COPY item (id) FROM STDIN", "x\n"))
        end)
        assert.is_nil(inner)
        return must(tx:copy_in("COPY item (id) FROM STDIN", "7\n"))
      end))
      assert.are.equal(1, count())
    end)

    it("of a cancelled task stores nothing", function()
      local begun = support.gate()
      local task = tide.spawn(function()
        db:copy_in("COPY item (id) FROM STDIN", function()
          begun.open()
          tide.sleep(60)
          return "1\n"
        end)
      end)
      begun.wait()
      task:cancel()
      assert.is_false((task:wait()))
      is_clean()
      assert.are.equal(0, count())
    end)

    it("ends with lost when its connection is lost, and stores nothing", function()
      local sent = 0
      local rows, err = db:with(function(conn)
        local pid = must(conn:one "SELECT pg_backend_pid() AS pid").pid
        return conn:copy_in("COPY item (id) FROM STDIN", function()
          sent = sent + 1
          if sent == 3 then must(db:one("SELECT pg_terminate_backend($1)", pid)) end
          if sent < 100000 then return sent .. "\n" end
        end)
      end)
      assert.is_nil(rows)
      assert.is_true(err.code == "lost" or err.sqlstate == "57P01", tostring(err))
      is_clean()
      assert.are.equal(0, count())
    end)

    it("keeps the deadline of each wait, and stores nothing", function()
      local release = support.hold_lock(db, "item")
      local rows, err = db:copy_in({ "COPY item (id) FROM STDIN", timeout_ms = 50 },
        { { 1 }, { 2 } })
      assert.is_nil(rows)
      assert.are.equal("timeout", err.code)
      release()
      eventually("the server has stopped it", function()
        return support.running(db, "COPY item%") == 0
      end)
      is_clean()
      assert.are.equal(0, count())
    end)
  end)

  describe("out", function()
    local function fill(n)
      must(db:exec([[INSERT INTO item SELECT i, 'word ' || i
        FROM generate_series(1, $1) AS i]], n))
    end

    it("gives whole rows, in order, and their number", function()
      fill(20000)
      local chunks = {}
      assert.are.equal(20000, must(db:copy_out(
        "COPY (SELECT id, word FROM item ORDER BY id) TO STDOUT", function(chunk)
          assert(chunk:sub(-1) == "\n")
          chunks[#chunks + 1] = chunk
        end)))
      local n = 0
      for line in table.concat(chunks):gmatch "[^\n]+" do
        n = n + 1
        assert(line == n .. "\tword " .. n, line)
      end
      assert.are.equal(20000, n)
      is_clean()
    end)

    it("writes to a file", function()
      fill(3)
      local path = support.file("out", "")
      local file = assert(io.open(path, "w"))
      assert.are.equal(3, must(db:copy_out("COPY item (id) TO STDOUT", file)))
      file:close()
      assert.are.equal("1\n2\n3\n", core.read_file(path))
    end)

    it("waits for a slow sink, without reading on", function()
      local sql = [[COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000))
        TO STDOUT]]
      local bytes, chunks = 0, 0
      must(db:copy_out(sql, function(chunk)
        bytes, chunks = bytes + #chunk, chunks + 1
        assert.is_true(#chunk < 600000)
        if chunks % 10 == 0 then tide.sleep(0.002) end
      end))
      assert.are.equal(20000 * 1001, bytes)
      is_clean()
    end)

    it("stops when the sink fails, and the lease goes on", function()
      local sql = "COPY (SELECT i FROM generate_series(1, 1000000) AS i) TO STDOUT"
      local mine = core.err("server", "mine")
      local rows, err = db:copy_out(sql, function() return nil, mine end)
      assert.is_nil(rows)
      assert.are.equal(mine, err)
      is_clean()
      db:with(function(conn)
        local ok, failure = pcall(conn.copy_out, conn, sql,
          function() error("mine", 0) end)
        assert.is_false(ok)
        assert.are.equal("mine", failure)
        assert.are.equal(5, must(conn:one "SELECT 5 AS n").n)
      end)
    end)

    it("gives the server's error amid the rows", function()
      fill(50000)
      local rows, err = db:copy_out(
        "COPY (SELECT 1 / (40000 - id) FROM item ORDER BY id) TO STDOUT", function() end)
      assert.is_nil(rows)
      assert.are.equal("22012", err.sqlstate)
      is_clean()
    end)

    it("ends with lost when its connection is lost", function()
      local n = 0
      local rows, err = db:copy_out(
        [[COPY (SELECT repeat('x', 1000), pg_backend_pid()
          FROM generate_series(1, 20000)) TO STDOUT]], function(chunk)
          n = n + 1
          if n == 1 then
            must(db:one("SELECT pg_terminate_backend($1)", chunk:match "\t(%d+)\n"))
          end
        end)
      assert.is_nil(rows)
      assert.is_true(err.code == "lost" or err.sqlstate == "57P01", tostring(err))
      is_clean()
    end)

    it("keeps the deadline of each wait", function()
      local rows, err = db:copy_out({ "COPY (SELECT pg_sleep(60)) TO STDOUT",
        timeout_ms = 50 }, function() end)
      assert.is_nil(rows)
      assert.are.equal("timeout", err.code)
      eventually("the server has stopped it", function()
        return support.running(db, "%pg_sleep(60)%TO STDOUT%") == 0
      end)
      is_clean()
    end)
  end)

  it("refuses statements that are none, or go the other way", function()
    local function refused(method, sql, other_end, pattern)
      local rows, err = db[method](db, sql, other_end)
      assert.is_nil(rows)
      assert.are.equal("badarg", err.code)
      assert.matches(pattern, err.message)
      is_clean()
    end
    refused("copy_out", "SELECT 1", print, "the statement is no COPY")
    refused("copy_in", "SELECT 1", "x", "the statement is no COPY")
    refused("copy_out", "COPY item FROM STDIN", print, "FROM STDIN, TO STDOUT expected")
    refused("copy_in", "COPY item TO STDOUT", "x", "TO STDOUT, FROM STDIN expected")
    local rows, err = db:copy_in("COPY nothing FROM STDIN", "x")
    assert.is_nil(rows)
    assert.are.equal("42P01", err.sqlstate)
  end)

  it("raises for what cannot be a source, a sink or a row", function()
    local function message(method, ...)
      local ok, err = pcall(db[method], db, ...)
      assert.is_false(ok)
      return err
    end
    assert.matches("a function or an open file expected, got string",
      message("copy_out", "COPY item TO STDOUT", "x"))
    assert.matches("a list of rows, a string or an open file expected, got nil",
      message("copy_in", "COPY item FROM STDIN"))
    assert.matches("a row of COPY: a function cannot be sent to Postgres",
      message("copy_in", "COPY item FROM STDIN", { { print } }))
    assert.matches("the source of a COPY gave a number",
      message("copy_in", "COPY item FROM STDIN", function() return 5 end))
    assert.matches("unknown statement option: share",
      message("copy_in", { "COPY item FROM STDIN", share = true }, "x"))
    is_clean()
  end)

  it("takes little memory for much data", function()
    -- a sanitizer keeps what was freed
    if support.slowness > 1 then return pending "measured without sanitizers" end
    local function resident()
      local status = core.read_file "/proc/self/status"
      return tonumber(status:match "RssAnon:%s*(%d+)") / 1024
    end
    must(db:exec "CREATE UNLOGGED TABLE big (t text)")
    collectgarbage()
    local before, most, n = resident(), 0, 0
    local line = ("x"):rep(1023) .. "\n"
    must(db:copy_in("COPY big FROM STDIN", function()
      n = n + 1
      if n % 1024 == 0 then most = math.max(most, resident()) end
      if n <= 64 * 1024 then return line end
    end))
    local bytes = 0
    must(db:copy_out("COPY big TO STDOUT", function(chunk)
      bytes = bytes + #chunk
      most = math.max(most, resident())
    end))
    assert.are.equal(64 * 1024 * 1024, bytes)
    assert.is_true(most - before < 30 * support.slowness,
      ("grew by %.1f MB"):format(most - before))
    must(db:exec "DROP TABLE big")
  end)
end)
