-- Transactions: how they end, options, tries, savepoints; advisory locks.

local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

describe("A transaction", function()
  local db

  setup(function()
    db = support.postgres { max_connections = 4 }
    must(db:exec "CREATE TABLE acct (id int PRIMARY KEY, n int NOT NULL)")
  end)

  before_each(function()
    must(db:exec "TRUNCATE acct")
    must(db:exec "INSERT INTO acct VALUES (1, 100), (2, 100)")
  end)

  local function balance(id)
    return must(db:one("SELECT n FROM acct WHERE id = $1", id)).n
  end

  local function add(tx, id, n)
    return must(tx:exec("UPDATE acct SET n = n + $1 WHERE id = $2", n, id))
  end

  local function pay(tx, n)
    add(tx, 1, -n)
    add(tx, 2, n)
  end

  it("commits when fn returns, and gives its results", function()
    local a, b = db:transaction(function(tx)
      pay(tx, 30)
      return "moved", 30
    end)
    assert.are.same({ "moved", 30 }, { a, b })
    assert.are.same({ 70, 130 }, { balance(1), balance(2) })
  end)

  it("shows nothing to others before the commit", function()
    local moved, seen = support.gate(), support.gate()
    local writer = tide.spawn(function()
      return db:transaction(function(tx)
        pay(tx, 30)
        moved.open()
        seen.wait()
        return true
      end)
    end)
    moved.wait()
    assert.are.equal(100, balance(1))
    seen.open()
    assert.is_true(writer:wait())
    assert.are.equal(70, balance(1))
  end)

  it("rolls back and raises when fn raises", function()
    local ok, err = pcall(db.transaction, db, function(tx)
      pay(tx, 30)
      error({ mine = true }, 0)
    end)
    assert.is_false(ok)
    assert.is_true(err.mine)
    assert.are.same({ 100, 100 }, { balance(1), balance(2) })
  end)

  it("rolls back and gives nil, err when fn asserts an err of the world", function()
    local result, err = db:transaction(function(tx)
      pay(tx, 30)
      must(tx:exec "INSERT INTO acct VALUES (1, 1)")
      return "not reached"
    end)
    assert.is_nil(result)
    assert.are.equal("23505", err.sqlstate)
    assert.are.same({ 100, 100 }, { balance(1), balance(2) })
  end)

  it("does not say it committed when a statement failed unnoticed", function()
    local result, err = db:transaction(function(tx)
      pay(tx, 30)
      tx:exec "INSERT INTO acct VALUES (1, 1)"
      return "done"
    end)
    assert.is_nil(result)
    assert.is_not_nil(err)
    assert.are.same({ 100, 100 }, { balance(1), balance(2) })
  end)

  it("rolls back when its task is cancelled", function()
    local moved = support.gate()
    local task = tide.spawn(function()
      return db:transaction(function(tx)
        pay(tx, 30)
        moved.open()
        must(tx:one "SELECT pg_sleep(60)")
      end)
    end)
    moved.wait()
    task:cancel()
    assert.is_false((task:wait()))
    eventually("nothing runs at the server", function()
      return support.running(db, "%pg_sleep%") == 0
    end)
    assert.are.same({ 100, 100 }, { balance(1), balance(2) })
  end)

  it("can be made read only", function()
    local result, err = db:transaction(function(tx)
      must(tx:exec "SET TRANSACTION READ ONLY")
      return must(tx:exec "UPDATE acct SET n = 0")
    end)
    assert.is_nil(result)
    assert.are.equal("25006", err.sqlstate)
  end)

  it("takes the timeout of its wait for a connection", function()
    local one = support.postgres { max_connections = 1 }
    local release = support.hold(one)
    local result, err = one:transaction({ timeout_ms = 20 }, function() return true end)
    release()
    assert.is_nil(result)
    assert.are.equal("timeout", err.code)
  end)

  it("has the isolation and mode that it is given", function()
    local function modes(opts)
      return must(db:transaction(opts, function(tx)
        return must(tx:one [[SELECT current_setting('transaction_isolation') AS isolation,
          current_setting('transaction_read_only') AS read_only,
          current_setting('transaction_deferrable') AS deferrable]])
      end))
    end
    assert.are.same({ isolation = "read committed", read_only = "off",
      deferrable = "off" }, modes {})
    assert.are.same({ isolation = "serializable", read_only = "on", deferrable = "on" },
      modes { isolation = "serializable", read_only = true, deferrable = true })
    assert.are.same({ isolation = "repeatable read", read_only = "off",
      deferrable = "off" }, modes { isolation = "repeatable read", read_only = false })
  end)

  it("raises for wrong options at the caller's line", function()
    local function message(opts, fn)
      local ok, err = pcall(function()
        local result = db:transaction(opts, fn or function() end)
        return result
      end)
      assert.is_false(ok)
      return err
    end
    assert.matches("pg_transaction_spec.lua:%d+: unknown option: isolated",
      message { isolated = true })
    assert.matches('option isolation: "read committed", "repeatable read" or '
      .. '"serializable" expected, got snapshot', message { isolation = "snapshot" })
    assert.matches("option retry: a count from 0 to 100 expected, got 1.5",
      message { retry = 1.5 })
    assert.matches("option read_only: true or false expected", message { read_only = 1 })
    assert.matches("option timeout_ms: milliseconds above 0", message { timeout_ms = 0 })
    assert.matches("options table expected, got string", message "serializable")
    assert.matches("function expected, got number", message({}, 5))
  end)

  -- Two transactions read what the other writes: one must fail.
  local function cross(retry)
    local ready, runs = 0, 0
    local function move(from, to)
      return function()
        return db:transaction({ isolation = "serializable", retry = retry }, function(tx)
          runs = runs + 1
          local n = must(tx:one("SELECT n FROM acct WHERE id = $1", from)).n
          ready = ready + 1
          eventually("both have read", function() return ready >= 2 end)
          add(tx, to, n)
          return true
        end)
      end
    end
    local first, second = tide.spawn(move(1, 2)), tide.spawn(move(2, 1))
    local _, first_ok, first_err = first:wait()
    local _, second_ok, second_err = second:wait()
    return runs, { first_ok, second_ok }, first_err or second_err
  end

  it("fails for a conflict when it may not be tried again", function()
    local runs, ok, err = cross(0)
    assert.are.equal(2, runs)
    assert.is_true((ok[1] == nil) ~= (ok[2] == nil))
    assert.are.equal("40001", err.sqlstate)
    assert.is_true(err.retryable)
  end)

  it("is run again from the start after a conflict", function()
    local runs, ok = cross(5)
    assert.is_true(runs >= 3, runs .. " runs") -- more while the other still commits
    assert.are.same({ true, true }, ok)
    assert.are.equal(500, balance(1) + balance(2)) -- as if one after the other
  end)

  it("is run again after a deadlock", function()
    local runs, locked = 0, 0
    local function swap(first, second)
      return function()
        return db:transaction({ retry = 3 }, function(tx)
          runs = runs + 1
          add(tx, first, 1)
          locked = locked + 1
          eventually("both have locked", function() return locked >= 2 end)
          add(tx, second, 1)
          return true
        end)
      end
    end
    assert.are.same({ true, true }, must(tide.all { swap(1, 2), swap(2, 1) }))
    assert.are.equal(3, runs)
    assert.are.same({ 102, 102 }, { balance(1), balance(2) })
  end)

  it("is not run again for other failures, nor more often than asked", function()
    local runs = 0
    local _, err = db:transaction({ retry = 5 }, function(tx)
      runs = runs + 1
      must(tx:exec "INSERT INTO acct VALUES (1, 1)")
    end)
    assert.are.equal("23505", err.sqlstate)
    assert.are.equal(1, runs)
    _, err = db:transaction({ retry = 2 }, function(tx)
      runs = runs + 1
      must(tx:exec "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
    end)
    assert.are.equal("40001", err.sqlstate)
    assert.are.equal(4, runs)
  end)

  it("fails with an err when its connection is lost in COMMIT, and is not repeated",
    function()
      must(db:exec "CREATE TABLE slow (n int)")
      must(db:exec [[
        CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$]])
      must(db:exec [[CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON slow
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit()]])
      local runs, pid = 0, nil
      local task = tide.spawn(function()
        return db:transaction({ retry = 3 }, function(tx)
          runs = runs + 1
          pid = tx:pid()
          must(tx:exec "INSERT INTO slow VALUES (1)")
          return true
        end)
      end)
      eventually("it commits", function()
        return support.running(db, "COMMIT") == 1
      end)
      must(db:one("SELECT pg_terminate_backend($1)", pid))
      local _, result, err = task:wait()
      assert.is_nil(result)
      assert.are.equal("lost", err.code)
      assert.are.equal("unknown", err.outcome)
      assert.are.equal(1, runs)
    end)

  describe("inside of another", function()
    it("is undone alone when it fails", function()
      local result = must(db:transaction(function(tx)
        add(tx, 1, 5)
        local inner, err = tx:transaction(function(sp)
          add(sp, 1, 1000)
          must(sp:exec "INSERT INTO acct VALUES (2, 0)")
        end)
        assert.is_nil(inner)
        assert.are.equal("23505", err.sqlstate)
        assert.are.equal("open", tx:tx())
        add(tx, 2, 7)
        return "done"
      end))
      assert.are.equal("done", result)
      assert.are.same({ 105, 107 }, { balance(1), balance(2) })
    end)

    it("nests, and gives what its function gives", function()
      local a, b = db:transaction(function(tx)
        add(tx, 1, 1)
        return tx:transaction(function()
          add(tx, 1, 10)
          local _, err = tx:transaction(function()
            add(tx, 1, 100)
            error(must(select(2, tx:query "SELECT nothing")))
          end)
          assert.are.equal("42703", err.sqlstate)
          return "inner", 2
        end)
      end)
      assert.are.same({ "inner", 2 }, { a, b })
      assert.are.equal(111, balance(1))
    end)

    it("raises what is no err, after it was undone", function()
      must(db:transaction(function(tx)
        local ok, err = pcall(tx.transaction, tx, function()
          add(tx, 1, 1000)
          error("mine", 0)
        end)
        assert.is_false(ok)
        assert.are.equal("mine", err)
        add(tx, 2, 1)
        return true
      end))
      assert.are.same({ 100, 101 }, { balance(1), balance(2) })
    end)

    it("tells of a statement that failed unnoticed", function()
      must(db:transaction(function(tx)
        local inner, err = tx:transaction(function()
          tx:exec "INSERT INTO acct VALUES (1, 1)"
          return "went on"
        end)
        assert.is_nil(inner)
        assert.are.equal("25P02", err.sqlstate)
        return true
      end))
    end)

    it("takes no options", function()
      db:transaction(function(tx)
        local ok, err = pcall(tx.transaction, tx, { read_only = true }, function() end)
        assert.is_false(ok)
        assert.matches("a transaction inside of another takes no options", err)
      end)
    end)
  end)

  it("on a lease is a whole one, and the lease goes on", function()
    db:with(function(conn)
      assert.are.equal("yes", must(conn:transaction({ isolation = "serializable" },
        function(tx)
          add(tx, 1, 3)
          return "yes"
        end)))
      assert.are.equal("none", conn:tx())
      local result, err = conn:transaction(function(tx)
        add(tx, 1, 1000)
        must(tx:exec "SELECT 1 / 0")
      end)
      assert.is_nil(result)
      assert.are.equal("22012", err.sqlstate)
      assert.are.equal("none", conn:tx())
    end)
    assert.are.equal(103, balance(1))
  end)
end)

describe("Advisory locks", function()
  local db

  setup(function() db = support.postgres { max_connections = 3 } end)

  local function held()
    return must(db:one [[SELECT count(*)::int AS n FROM pg_locks
      WHERE locktype = 'advisory' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      ]]).n
  end

  it("keep others out until they are given up", function()
    db:with(function(conn)
      assert.is_true(must(conn:lock "report"))
      db:with(function(other)
        assert.is_false((other:try_lock "report"))
        assert.is_true(must(other:try_lock "another report"))
        local done, err = other:lock("report", { timeout_ms = 50 })
        assert.is_nil(done)
        assert.are.equal("timeout", err.code)
      end)
      assert.is_true(must(conn:unlock "report"))
      assert.is_false((conn:unlock "report"))
      db:with(function(other) assert.is_true(must(other:try_lock "report")) end)
    end)
    assert.are.equal(0, held())
  end)

  it("may be shared, and have whole numbers for keys", function()
    db:with(function(conn)
      assert.is_true(must(conn:lock(2 ^ 53, { shared = true })))
      db:with(function(other)
        assert.is_true(must(other:try_lock(2 ^ 53, { shared = true })))
        assert.is_false((other:try_lock(2 ^ 53)))
      end)
      assert.is_true(must(conn:unlock(2 ^ 53, { shared = true })))
    end)
  end)

  it("of a lease end with it", function()
    db:with(function(conn)
      must(conn:lock(7))
      assert.are.equal(1, held())
    end)
    eventually("it is free", function() return held() == 0 end)
  end)

  it("of a transaction end with it", function()
    db:with(function(conn)
      must(conn:transaction(function(tx)
        must(tx:lock "tx")
        local ok, err = pcall(tx.unlock, tx, "tx")
        assert.is_false(ok)
        assert.matches("held until it ends", err)
        assert.are.equal(1, held())
        return true
      end))
      assert.are.equal(0, held())
    end)
  end)

  it("raise for keys and options that are none", function()
    db:with(function(conn)
      for _, key in ipairs { 1.5, true, {}, 2 ^ 60 } do
        local ok, err = pcall(conn.lock, conn, key)
        assert.is_false(ok)
        assert.matches("lock key: string or whole number expected", err)
      end
      local ok, err = pcall(conn.lock, conn, 1, { wait = true })
      assert.is_false(ok)
      assert.matches("unknown option: wait", err)
    end)
  end)
end)
