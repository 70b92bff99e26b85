---@meta tidepool
-- Made by `make types` from lua/README.md; not to be edited.

---@alias tidepool.ErrCode
---| "badarg" # an argument or option is out of range, or not what the statement needs: 500
---| "nomem" # out of memory: 500
---| "refused" # the server cannot be reached: 503
---| "timeout" # the deadline passed: 504
---| "busy" # the waiting line is full; or no connection can come free, since all are held by who waits for one; or tasks would wait for one another: 503
---| "closed" # the pool is closed, the connection was taken back, the client has gone: 503
---| "lost" # the connection was lost, or the lock: 503
---| "server" # the server answered with an error: 500
---| "cancelled" # the task was cancelled: 499
---| "protocol" # the peer broke the protocol: 500
---| "budget" # a task was ended for what it used, see [budgets](../README.md#budgets-of-scripts); no `pcall` in it sees this, whoever waits for it does: 500
---| "internal" # the runtime broke one of its own rules: 500
---| "conflict" # somebody else changed it in between: read it again: 409

---@alias tidepool.EventName
---| "connect" # a connection was opened
---| "close" # a connection was closed
---| "connect_failed" # an attempt to connect failed
---| "outdated" # the server is not what it was: connections are replaced
---| "slow_acquire" # a wait was over `acquire_slow_threshold`
---| "timeout" # a wait ended at its deadline
---| "leak_suspected" # a connection is held longer than `leak_threshold`
---| "reclaim" # a connection was taken back after `leak_reclaim`
---| "pool_exhausted" # for a second all connections were in use, and somebody waited; once, until it has recovered
---| "pool_degraded" # the server cannot be reached; once, until it has recovered
---| "pool_recovered" # neither was so for a second
---| "policy_changed" # the policy changed a setting

---What `require "tidepool"` gives.
---@class tidepool.Tide
---@field version string the runtime's, "0.1.0"
---@field null lightuserdata NULL where nil cannot stand: in lists, in JSON, as a parameter
local Tide = {}

---A Postgres pool of the configuration.
---
---Raises: when there is none of this name; the message says which there are, and the key to set
---@param name? string of `[database.NAME]`; without it, the pool of `[database]`, which is "main"
---@return tidepool.Postgres db the pool, the same one each time
function Tide.postgres(name) end

---A Redis pool of the configuration.
---
---Raises: when there is none of this name
---@param name? string of `[redis.NAME]`; without it, the pool of `[redis]`, which is "main"
---@return tidepool.Redis cache the pool, the same one each time
function Tide.redis(name) end

---A new application: routes and their handlers. The script returns it.
---@return tidepool.App app see HTTP
function Tide.app() end

---Which of the instance's workers this process is. With `--workers N` each of them runs the script, and so all that it begins:
---what is to be done once for the instance, one of them does.
---@return integer number from 1; `count: integer` - how many there are, 1 without `--workers`
function Tide.worker() end

---Tells an err from other values.
---@param value any anything
---@return boolean is true for an err
function Tide.is_err(value) end

---A parameter that is an array of any type: enums, domains, others that are not built in.
---
---Raises: when it is no table
---@param list table the elements, `tide.null` for NULL, lists for more dimensions
---@return table param to be given as a parameter
function Tide.array(list) end

---A parameter for bytea.
---
---Raises: when it is no string
---@param text string any bytes
---@return table param to be given as a parameter
function Tide.bytes(text) end

---A parameter for json and jsonb where the value is no table: a string, a number, a boolean.
---@param value any what `tide.encode` can write
---@return table param to be given as a parameter
function Tide.json_param(value) end

---
---Errors: `badarg` - the log cannot be made or read
---
---Raises: for an unknown or wrong option, and when one of that name is open with another `db`, `table`, `key` or `log`
---@param opts tidepool.WriteBehindOptions
---@return tidepool.WriteBehind? wb
---@return tidepool.Err? err
function Tide.writebehind(opts) end

---
---Raises: for an unknown or wrong option
---@param opts tidepool.QueueOptions
---@return tidepool.Queue queue
function Tide.queue(opts) end

---Parks the task, not the process.
---
---Raises: for anything else
---@param seconds number from 0 on; 0 lets others run
function Tide.sleep(seconds) end

---Runs functions at the same time and waits for all of them. After the first failure (`nil, err`, or an err raised) the
---rest is cancelled.
---
---Errors: `server`, `timeout` - and whatever a function gave as err
---
---Raises: an error of a function that is no err
---@param ... table|fun(): any functions; or one list of functions
---@return any ... the first result of each, in their order; for a list, a list
function Tide.all(...) end

---Runs functions at the same time; the first that ends decides, the rest is cancelled.
---
---Errors: `server`, `timeout` - and whatever the function gave as err
---
---Raises: an error of the function that is no err; when there is no function
---@param ... table|fun(): any functions; or one list of functions
---@return any ... all results of the first that ended
function Tide.race(...) end

---Runs a function for so long at most, and cancels it then, and all that it waits for.
---
---Errors: `timeout` - and whatever the function gave as err
---
---Raises: an error of the function that is no err
---@param seconds number from 0 on
---@param fn fun(...: any): any
---@param ... any its arguments
---@return any ... what it returned
function Tide.timeout(seconds, fn, ...) end

---Starts a task that nobody has to wait for. Its error is logged, unless somebody waits for it.
---
---Errors: `busy` - there are `script.max_tasks`, or the Lua heap is nearly full
---
---Raises: when it is no function
---@param fn fun(...: any): any
---@param ... any its arguments
---@return tidepool.Task? task nil, err when there are too many
---@return tidepool.Err? err
function Tide.spawn(fn, ...) end

---What the running task is there for, and the tasks that it starts from now on. While not all can be served, pools give each class its
---share of turns (`share_critical` 8, `share_normal` 4, `share_batch` 1), and where waits stay over `codel_target` the class with the lowest
---`shed_` setting is shed first (`shed_batch` 1, `shed_normal` 2, `shed_critical` 3). Within a class it is first come, first served.
---
---Raises: when there is no such class
---@param name? "critical"|"normal"|"batch" left as it is without it
---@return string? name what it is now; nil where no task runs
function Tide.class(name) end

---Runs a function again and again, the first time after so many seconds, never twice at once. An error in it is logged.
---
---Raises: for anything else
---@param seconds number above 0
---@param fn fun()
---@return tidepool.Task task `task:cancel()` ends it
function Tide.every(seconds, fn) end

---A clock that never goes back: for durations, not for dates.
---@return number seconds
function Tide.now() end

---Runs a function when no other call with this key runs in this process: calls with the same key take turns in the order they
---came, those with different keys run at the same time. For things that are read, changed and written back, as a
---player or an account. It runs in the caller's task; what it holds goes to the next one when it returns, raises or its task ends.
---
---Within the function the same key is free, also for children of its task (`tide.all` and the like), which take turns among
---themselves. Who would wait for somebody that waits for it, itself or by a child, gets `busy` at once; waiting for a task by `task:wait()` is not seen.
---A task that is cancelled while it waits leaves the line. It orders one process: among workers use `tide.lock`, or a row lock.
---
---Errors: `timeout`, `busy` - and whatever the function gave as err
---
---Raises: an error of the function; a key of another type, an unknown option
---@param key string|number|tidepool.SerialKey what it is about; 1 and "1" are two keys
---@param fn fun(...: any): any
---@param ... any its arguments
---@return any ... what it returned
function Tide.serial(key, fn, ...) end

---A cache in front of a function: `fn(key, ...)` loads what `memo:get(key, ...)` asks for, and the value is kept. A key is loaded once
---at a time, in the task of the first who asks; others wait for it and get the same. When that task is cancelled,
---the next of them loads. Failures (`nil, err`, or an err raised) are given to all who wait and are not kept.
---
---With `redis` values are in Redis too, as JSON, and of all processes one loads: a lease tells the others to wait for it. A value is then what
---JSON makes of it, also for who loaded it. While Redis is away each process loads for itself. Keys begin with `tidepool:memo:{NAME}:`; 1 and "1" are one there.
---
---Raises: for an unknown option, or one of the wrong kind; without a function; with `redis` and no name
---@param opts tidepool.MemoOptions
---@param fn? fun(key: string|number, ...: any): any, any gives a value, nil for none, or nil, err
---@return tidepool.Memo memo for as long as the script keeps it; the next version of a script begins with an empty one
function Tide.memo(opts, fn) end

---A limit by key: `rate` tokens a second come into the key's bucket, which holds `burst`.
---
---Without `redis` it is this process's own: with N workers there is N times as much. With it one bucket in Redis is all processes', by the
---server's clock. `lease` tokens are fetched at once, and those that a process does not use are lost to others until they fill again: a
---tenth of `burst` is a good start. A refusal is remembered until its time, so that who is refused costs no trip.
---
---Raises: for an unknown option, or one of the wrong kind; without a rate; with `redis` and no name
---@param opts tidepool.RateLimitOptions
---@return tidepool.RateLimit limit
function Tide.ratelimit(opts) end

---Runs a function while no other process holds the lock of this name: by a lease in Redis, renewed as long as the function runs, or by an
---advisory lock of Postgres (`conn:lock "tidepool:lock:NAME"`), which holds a connection. The function runs in a child task; when the lock is lost, it is
---cancelled. Those of one process wait in line, those of several processes try again and again.
---
---**It is not safe by itself.** A lease ends by time: a process that stood still (a full machine, a long collection, a stopped container) or whose network
---was gone may go on to write after another has taken the lock, and a Redis that fails over may have forgotten it. So what is written must carry the *fence*, a number
---that grows with each holder, and what stores it must refuse a smaller one than it has seen, as the example does. Without that a lock
---saves work, and guards nothing. In Postgres alone, `SELECT ... FOR UPDATE` needs neither.
---
---Errors: `timeout`, `lost`, `busy`, `server`, `refused`, `closed`, `protocol`, `nomem` - `lost`: the function was cancelled, and some of it may have been done; `busy`: a dead-lock; and whatever the function gave, or raised, as err
---
---Raises: an error of the function that is no err; for an unknown option; when this task holds it already
---@param name string
---@param opts tidepool.LockByOptions one of `redis` and `postgres`
---@param fn fun(fence: number): any
---@return any ... what the function returned
function Tide.lock(name, opts, fn) end

---Writes a line to the service's log.
---
---Raises: for an unknown level
---@param level "debug"|"info"|"warn"|"error"
---@param event string what happened, the same words each time
---@param fields? table by name: strings, numbers, booleans; in the order of their names, of more than 24 the first, and how many are left out as `dropped_fields`
function Tide.log(level, event, fields) end

---Calls a function for each such event of any pool, in order, each in a task of its own, a little later than it happens.
---1000 may wait for it, more are dropped. It lasts until it is closed, or its script is replaced.
---
---Raises: for an unknown event
---@param event tidepool.EventName which
---@param fn fun(event: tidepool.PoolEvent) an error in it is logged
---@return tidepool.EventHandler handler
function Tide.on(event, fn) end

---A reply of JSON. Rows go to the socket without becoming Lua values.
---
---Raises: for what JSON cannot say
---@param value any as of `tide.encode`
---@param status? integer 200 without it
---@return tidepool.Reply answer
function Tide.json(value, status) end

---A reply of text that is JSON already.
---
---Raises: when it is no string
---@param text string
---@param status? integer 200 without it
---@return tidepool.Reply answer
function Tide.json_raw(text, status) end

---A reply of text/plain or text/html, in UTF-8.
---@param text any by `tostring`
---@param status? integer 200 without it
---@return tidepool.Reply answer
function Tide.text(text, status) end

---A reply of text/plain or text/html, in UTF-8.
---@param text any by `tostring`
---@param status? integer 200 without it
---@return tidepool.Reply answer
function Tide.html(text, status) end

---The reply that an err stands for: its `status`, or that of its code: 503 for busy, closed, refused and lost,
---504 for timeout; else 500 with an id, and the details in the log alone.
---
---Raises: when it is no err
---@param err tidepool.Err
---@return tidepool.Reply answer
function Tide.fail(err) end

---A value as JSON text. A table is an array when its keys are 1, 2, 3 ..., else an object; an empty one is an object. Numbers
---read back as the same number.
---
---Raises: for functions and the like, a table that holds itself, a number that is no number
---@param value any tables, strings, numbers, booleans, nil, `tide.null`, rows
---@return string text
function Tide.encode(value) end

---The value of a JSON text; null is `tide.null`.
---
---Errors: `badarg` - with `status` 400
---
---Raises: when it is no string
---@param text string
---@return any value
---@return tidepool.Err? err
function Tide.decode(text) end

---A value as MessagePack. A string is str when it is UTF-8, else bin, as `tide.bytes` is; a table is an array by the rule of
---`tide.encode`, and always as `tide.array`; of rows, each is a map without what is NULL.
---
---Raises: for functions and the like, a table that holds itself
---@param value any as of `tide.encode`, and keys that are booleans
---@return string bytes
function Tide.msgpack_encode(value) end

---The value of bytes in MessagePack, which may be hostile. nil is `tide.null`, a whole number beyond 2^53 its exact digits as a
---string, str and bin are strings; extension types are refused.
---
---Errors: `badarg` - with `status` 400, and the byte where it is wrong, counted from 1
---
---Raises: when it is no string
---@param bytes string
---@return any value
---@return tidepool.Err? err
function Tide.msgpack_decode(bytes) end

---A reply that a function writes, sent piece by piece, no faster than the client reads. What the function raises before the
---first piece has a reply of its own; later the connection is cut, so that the client sees that the reply is not whole.
---
---Raises: for an unknown option
---@param fn fun(reply: tidepool.ReplyStream)
---@param opts? tidepool.StreamOptions
---@return tidepool.Reply answer for the handler to return
function Tide.stream(fn, opts) end

---A reply of server-sent events. The task is cancelled when the client goes, or the server drains, whatever the method.
---
---Raises: for an unknown or wrong option
---@param fn fun(stream: tidepool.EventStream) the reply ends when it returns
---@param opts? tidepool.EventsOptions
---@return tidepool.Reply answer for the handler to return
function Tide.events(fn, opts) end

---From here on `fn(call)` answers what a host asks by this name, in a task of its own.
---
---Raises: when the script has a handler of this name
---@param name string
---@param fn fun(call: tidepool.HandlerCall): any, tidepool.Err? where the host asks in JSON or MessagePack, the value goes in that format; else a string is the reply as it is, nil an empty one, any other value is sent as JSON. `nil, err` is a failure, which the host gets by code and message
function Tide.handler(name, fn) end

---As `app:on_load`, of a script that has no app: `tide_load()` and `tide_reload()` call it before calls go to
---this version. Where it fails so do they, and the version before goes on.
---
---Raises: when there is one already
---@param fn fun(state: any) what the version before handed over, as a copy; nil: this one is the first, or that one gave nothing
function Tide.on_load(fn) end

---As `app:on_unload`, of a script that has no app: `tide_reload()` calls it when the next version has loaded.
---It is not called by `tide_close()`.
---
---Raises: when there is one already
---@param fn fun(): any the state: plain data
function Tide.on_unload(fn) end

---Asks an app without a socket, as over HTTP: through its routes, with its error replies, in a task of its own.
---
---Raises: for an unknown or wrong option, for both `body` and `json`; not for what the handler raises, which is a 500
---@param app tidepool.App
---@param method string "GET"
---@param path string from / on, with a query
---@param opts? tidepool.RequestOptions
---@return tidepool.Response response
function Tide.request(app, method, path, opts) end

---Sessions of an app's users: data that is found by a token, in Redis. With `db` a row of Postgres is each session's copy that
---lasts: writes go there first and reads need Redis only, until it has lost the session or is away.
---
---Raises: for an unknown or wrong option
---@param opts tidepool.SessionOptions
---@return tidepool.Sessions sessions
function Tide.session(opts) end

---Players by value, in a sorted set of Redis. Of equal values the one that was there earlier comes first.
---
---Raises: for an unknown or wrong option
---@param opts tidepool.LeaderboardOptions
---@return tidepool.Leaderboard board
function Tide.leaderboard(opts) end

---A failure. Other fields of it are the script's to set.
---@class tidepool.Err
---@field code tidepool.ErrCode what kind of failure
---@field message string a sentence
---@field retryable? boolean the same call may succeed later
---@field sqlstate? string of Postgres, "23505"
---@field detail? string these are a Postgres server's own words, those that it gave
---@field hint? string
---@field position? string in the statement, from 1 on
---@field context? string
---@field schema? string
---@field table? string
---@field column? string
---@field constraint? string
---@field waited? tidepool.Waited seconds of a wait for a connection, by phase
---@field outcome? string "unknown": it was on its way when its time was up or the connection was lost: what it was to do may have happened
---@field status? integer what `tide.fail(err)` answers with. A script may set it: what the server says of a client's bad input (SQLSTATE classes 22 and 23) is 500 unless the handler does `err.status = 400`

---seconds of a wait for a connection, by phase
---@class tidepool.Waited
---@field total number
---@field queue number
---@field dns number
---@field tcp number
---@field tls number
---@field auth number
---@field init number
---@field test number
---@field hook number

---A pool of connections to a Postgres server.
---@class tidepool.Postgres
local Postgres = {}

---@return string name that of the configuration, "main" for the first
function Postgres:name() end

---@return "postgres"|"redis" kind what it is a pool of
function Postgres:kind() end

---The settings that are in force.
---@return tidepool.PoolSettings settings see Settings and stats
function Postgres:settings() end

---Changes settings while it runs: all that are given, or none.
---
---Errors: `badarg` - a value is out of range, or two do not fit together
---
---Raises: for an unknown setting, or a value of another type
---@param settings tidepool.PoolSettings those to change
---@return true? done
---@return tidepool.Err? err
function Postgres:set(settings) end

---Counts, waits and their distributions.
---@return tidepool.PoolStats stats see Settings and stats
function Postgres:stats() end

---Hands no connection out until `resume()`; those who ask wait, each to its deadline. What is lent stays lent.
function Postgres:pause() end

---Goes on after `pause()`.
function Postgres:resume() end

---Replaces every connection: idle ones now, others when they come back. Nobody is refused meanwhile.
function Postgres:drain() end

---Sets user and password of the next connects, where they change while it runs. What is open stays, until it is replaced
---or `drain()`. A function is called now, and again when a connect has failed, at most once in 5 s, and has 10 s; when its
---script is replaced, those of the configuration count again.
---
---Errors: `badarg`, `nomem` - or what the function gave; `badarg` when it gave nothing
---
---Raises: for an unknown key, or a value that is no string
---@param login tidepool.Login|fun(): tidepool.Login?, tidepool.Err? a table, or a function that gives one, or nil, err
---@return true? done
---@return tidepool.Err? err
function Postgres:credentials(login) end

---Sets functions that run on the pool's connections, each alone on its own, in place of all that were set before; `{}`
---sets none. They end when their script is replaced, unless the next version has set its own.
---
---`after_connect` is the last step of connecting: a connection that it fails on counts as a failed connect, and the whole
---has `connect_timeout`. What it sets in the session stays: giving a lease back cleans that away only where another changed
---it, and then the function runs again. When it is replaced by another or by none, connections are replaced as by `drain()`.
---
---`before_acquire` runs before each lease, and each time that a connection becomes one that statements share: not for each of these
---statements. What it sets lasts for that lease. With one, `try_acquire` finds nothing. `after_release` runs when a
---lease is over and its session is clean. Each has 5 s.
---
---Who gives `false` has the connection closed (`hook_refused`), and `nil, err` or an error closes it too (`hook_failed`);
---the log says what it was, and who waits gets another. New connections that `before_acquire` refuses count as failed connects.
---A hook asks the connection that it is given: asking the pool raises. On Redis it may not leave MULTI or WATCH open.
---
---Raises: for an unknown hook, or one that is no function
---@param hooks tidepool.Hooks
---@return true done
function Postgres:hooks(hooks) end

---Ends the pool: its subscriptions and consumers, then its connections. Waits until the last one is gone. The runtime does
---it at the end of the program by itself.
---@param seconds? number how long what is lent has to come back, 0 without it; then it is closed and what ran is cancelled
---@return true done
function Postgres:close(seconds) end

---Runs a statement and gives its rows.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`
---
---Raises: when the number of parameters is wrong, when one is a function or the like, for an unknown option, for COPY, and on a pool for what needs a connection of its own, as `BEGIN`
---@param sql string|tidepool.Statement one statement
---@param ... any its parameters
---@return tidepool.Rows? rows empty for a statement without a result
---@return tidepool.Err? err
function Postgres:query(sql, ...) end

---The first row of a statement's result.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`
---
---Raises: as `db:query`
---@param sql string|tidepool.Statement one statement
---@param ... any its parameters
---@return table? row by the columns' names; nil, without an err, when there is no row: `assert` takes that for a failure too, so look at the err first, then at the row; or `assert(db:query(...))[1]`, whose nil is no failure
---@return tidepool.Err? err
function Postgres:one(sql, ...) end

---Runs a statement for its effect.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`
---
---Raises: as `db:query`
---@param sql string|tidepool.Statement one statement
---@param ... any its parameters
---@return integer? count the number of rows affected
---@return tidepool.Err? err
function Postgres:exec(sql, ...) end

---Calls a function for each row, in batches of about 1 MiB: results of any size in little memory. On a pool, and on a
---connection without one, it is a transaction. It is no iterator: a loop that is left by `break` could not give the
---connection back before its task ends.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem` - and an err that the function raised, unless that was in a transaction of the caller's
---
---Raises: as `db:query`; when the last argument is no function; what else the function raises
---@param sql string|tidepool.Statement a query; `timeout_ms` is of each batch, `share` is not for it
---@param ... any its parameters and, last, `function(row)`; false from it ends it early
---@return integer? count the number of rows that the function saw
---@return tidepool.Err? err
function Postgres:each(sql, ...) end

---Runs several statements: at the same time, or in order as one transaction. On a lease always in order; the first that
---fails is then the last.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem` - of the first that failed; not atomic, others may have been done
---
---Raises: as `db:query`; for an unknown option
---@param list tidepool.Batch of lists: SQL and its parameters
---@return tidepool.Rows[]? results of each, in their order
---@return tidepool.Err? err
function Postgres:batch(list) end

---Runs a function between BEGIN and COMMIT. An err that it raises, as by `assert`, rolls back and comes back as `nil, err`;
---any other error rolls back and goes on up. When it returns after a statement failed, that is rolled back too.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem` - and any err that the function raised
---
---Raises: for an unknown or wrong option; what the function raises that is no err
---@param opts tidepool.TransactionOptions how
---@param fn fun(tx: tidepool.PostgresLease): any may run more than once with `retry`
---@return any ... what the function returned, after COMMIT
---@overload fun(self: tidepool.Postgres, fn: fun(tx: tidepool.PostgresLease): any): any
function Postgres:transaction(opts, fn) end

---Runs a function with a connection of its own, which it gives back at its end, also when it raises.
---
---Errors: `timeout`, `busy`, `refused`, `closed` - no connection came
---
---Raises: what the function raises, errs too
---@param fn fun(conn: tidepool.PostgresLease): any
---@return any ... what the function returned
function Postgres:with(fn) end

---A connection to give back by hand; at the latest the task's end does.
---
---Errors: `timeout`, `busy`, `refused`, `closed`
---
---Raises: for an unknown option
---@param opts? tidepool.AcquireOptions
---@return tidepool.PostgresLease? conn
---@return tidepool.Err? err
function Postgres:acquire(opts) end

---A connection if one is free at once.
---@return tidepool.PostgresLease? conn nil when none is
function Postgres:try_acquire() end

---What the server says of itself.
---
---Errors: `timeout`, `busy`, `refused`, `closed`
---@return tidepool.PostgresServer? server and other settings that it reports
---@return tidepool.Err? err
function Postgres:server() end

---Sends what a source gives to `COPY ... FROM STDIN`, no faster than the server takes it.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`, `badarg` - and what the source gave; `badarg` for another statement. Nothing is kept then
---
---Raises: for a source of another type; for a row where the statement has options; what the source raises that is no err. Nothing is kept then
---@param sql string|tidepool.CopyStatement the statement
---@param source string|table|file*|fun(): any, any a string; a list of rows; a file that is open for reading; or a function that gives the next chunk, nil at the end, or `nil, err`. A chunk is text in the statement's format; or a row, a list of values, where the statement has no options, since rows go in the text format
---@return integer? count the number of rows
---@return tidepool.Err? err
function Postgres:copy_in(sql, source) end

---Gives what `COPY ... TO STDOUT` sends to a sink, no faster than that takes it.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`, `badarg`, `internal` - and what the sink gave; `badarg` for another statement, `internal` for a file that cannot be written
---
---Raises: for a sink of another type; what the sink raises that is no err
---@param sql string|tidepool.CopyStatement the statement
---@param sink file*|fun(chunk: string): any, any a file that is open for writing; or a function that gets whole rows as text, 256 KiB or so at once, and may end it early by `nil, err`
---@return integer? count the number of rows
---@return tidepool.Err? err
function Postgres:copy_out(sql, sink) end

---Calls a function for each notification of a channel, one after another, each in a task of its own. All listeners of a
---pool share one connection, which is one of `max_connections`. It returns when the server has confirmed it; while the
---server is away it returns at once, and the first message is a gap. Made in a request, it ends with the request; made while
---the script loads or in a spawned task, it lasts.
---
---Errors: `badarg`, `server`, `closed` - `badarg` when `max_connections` is 1
---
---Raises: for a wrong name, or an unknown option
---@param channel string at most 63 bytes, taken as it is
---@param fn fun(message: tidepool.Message) an error in it is logged
---@param opts? tidepool.SubscribeOptions
---@return tidepool.Subscription? sub
---@return tidepool.Err? err
function Postgres:listen(channel, fn, opts) end

---Sends a notification to all who listen to the channel, in all processes. In a transaction it is sent at COMMIT.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`
---
---Raises: for a wrong name or payload
---@param channel string at most 63 bytes
---@param payload? string under 8000 bytes
---@return true? done
---@return tidepool.Err? err
function Postgres:notify(channel, payload) end

---A pool of connections to a Redis server. `cache:get(key)` is the command GET, and so any other.
---@class tidepool.Redis: tidepool.RedisCommands
---@field [string] fun(self: any, ...: string|number): any, tidepool.Err? any command by its name
local Redis = {}

---@return string name that of the configuration, "main" for the first
function Redis:name() end

---@return "postgres"|"redis" kind what it is a pool of
function Redis:kind() end

---The settings that are in force.
---@return tidepool.PoolSettings settings see Settings and stats
function Redis:settings() end

---Changes settings while it runs: all that are given, or none.
---
---Errors: `badarg` - a value is out of range, or two do not fit together
---
---Raises: for an unknown setting, or a value of another type
---
---The command SET. `cache:set{ max_waiters = 10 }` changes the pool's settings.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem`
---
---Raises: as `cache:call`
---@param settings tidepool.PoolSettings those to change
---@return true? done
---@return tidepool.Err? err
---@overload fun(self: tidepool.Redis, key: string|number, value: string|number, ...: string|number): string?, tidepool.Err?
function Redis:set(settings) end

---Counts, waits and their distributions.
---@return tidepool.PoolStats stats see Settings and stats
function Redis:stats() end

---Hands no connection out until `resume()`; those who ask wait, each to its deadline. What is lent stays lent.
function Redis:pause() end

---Goes on after `pause()`.
function Redis:resume() end

---Replaces every connection: idle ones now, others when they come back. Nobody is refused meanwhile.
function Redis:drain() end

---Sets user and password of the next connects, where they change while it runs. What is open stays, until it is replaced
---or `drain()`. A function is called now, and again when a connect has failed, at most once in 5 s, and has 10 s; when its
---script is replaced, those of the configuration count again.
---
---Errors: `badarg`, `nomem` - or what the function gave; `badarg` when it gave nothing
---
---Raises: for an unknown key, or a value that is no string
---@param login tidepool.Login|fun(): tidepool.Login?, tidepool.Err? a table, or a function that gives one, or nil, err
---@return true? done
---@return tidepool.Err? err
function Redis:credentials(login) end

---Sets functions that run on the pool's connections, each alone on its own, in place of all that were set before; `{}`
---sets none. They end when their script is replaced, unless the next version has set its own.
---
---`after_connect` is the last step of connecting: a connection that it fails on counts as a failed connect, and the whole
---has `connect_timeout`. What it sets in the session stays: giving a lease back cleans that away only where another changed
---it, and then the function runs again. When it is replaced by another or by none, connections are replaced as by `drain()`.
---
---`before_acquire` runs before each lease, and each time that a connection becomes one that statements share: not for each of these
---statements. What it sets lasts for that lease. With one, `try_acquire` finds nothing. `after_release` runs when a
---lease is over and its session is clean. Each has 5 s.
---
---Who gives `false` has the connection closed (`hook_refused`), and `nil, err` or an error closes it too (`hook_failed`);
---the log says what it was, and who waits gets another. New connections that `before_acquire` refuses count as failed connects.
---A hook asks the connection that it is given: asking the pool raises. On Redis it may not leave MULTI or WATCH open.
---
---Raises: for an unknown hook, or one that is no function
---@param hooks tidepool.Hooks
---@return true done
function Redis:hooks(hooks) end

---Ends the pool: its subscriptions and consumers, then its connections. Waits until the last one is gone. The runtime does
---it at the end of the program by itself.
---@param seconds? number how long what is lent has to come back, 0 without it; then it is closed and what ran is cancelled
---@return true done
function Redis:close(seconds) end

---Any command, also of two words.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem`
---
---Raises: for a word that is no string or number; for a command that would change a shared connection, as SELECT, and for SUBSCRIBE and the like: the message says what to call
---@param command string its name
---@param ... string|number its words
---@return any reply nil without an err is Redis' nil
---@return tidepool.Err? err
function Redis:call(command, ...) end

---Sends several commands in one go.
---
---Errors: `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem`
---
---Raises: as `cache:call`
---@param fn fun(p: tidepool.Pipeline) calls the commands on `p`; it must not wait
---@return any[]? replies in their order: `tide.null` for nil, an err where a command failed
---@return tidepool.Err? err
function Redis:pipeline(fn) end

---The same between MULTI and EXEC: all or nothing, and nothing of others in between.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem` - `server` when Redis refused one of the commands, and so ran none; where it refused all of them, the list has their errs
---
---Raises: as `cache:call`
---@param fn fun(m: tidepool.Pipeline) calls the commands on `m`; it must not wait
---@return any[]? replies as of `pipeline`; nil, without an err, on a connection that watches a key which changed
---@return tidepool.Err? err
function Redis:multi(fn) end

---An iterator over keys: each at least once, some twice. With a cursor, as `cache:scan(0)`, it is the command.
---
---Raises: for an unknown option; in the loop an err when a step failed, since a loop could only end
---@param opts? tidepool.ScanOptions
---@return fun(): string? next
function Redis:scan(opts) end

---An iterator over a hash, as `scan`.
---
---Raises: as `scan`
---@param key string|number
---@param opts? tidepool.ScanOptions
---@return fun(): string?, string? next field, value
function Redis:hscan(key, opts) end

---An iterator over a set, as `scan`.
---
---Raises: as `scan`
---@param key string|number
---@param opts? tidepool.ScanOptions
---@return fun(): string? next member
function Redis:sscan(key, opts) end

---An iterator over a sorted set, as `scan`.
---
---Raises: as `scan`
---@param key string|number
---@param opts? tidepool.ScanOptions
---@return fun(): string?, number? next member, score
function Redis:zscan(key, opts) end

---Lua for the server: sent once, then called by its hash. It runs there at one go, with nothing of others in between.
---
---Raises: for an unknown option, or a source that is one word
---@param source string the script's text, with KEYS and ARGV
---@param opts? tidepool.ScriptOptions
---@return tidepool.Script script
function Redis:script(source, opts) end

---Runs a function with a connection of its own, which it gives back at its end, also when it raises.
---
---Errors: `timeout`, `busy`, `refused`, `closed` - no connection came
---
---Raises: what the function raises, errs too
---@param fn fun(conn: tidepool.RedisLease): any
---@return any ... what the function returned
function Redis:with(fn) end

---A connection to give back by hand; at the latest the task's end does.
---
---Errors: `timeout`, `busy`, `refused`, `closed`
---
---Raises: for an unknown option
---@param opts? tidepool.AcquireOptions
---@return tidepool.RedisLease? conn
---@return tidepool.Err? err
function Redis:acquire(opts) end

---A connection if one is free at once.
---@return tidepool.RedisLease? conn nil when none is
function Redis:try_acquire() end

---Calls a function for what is published on a channel, one message after another, each in a task of its own. All
---subscriptions of a pool share one connection, which is one of `max_connections`. When it returns, and how long it lasts:
---as `db:listen`.
---
---Errors: `badarg`, `server`, `closed` - `badarg` when `max_connections` is 1
---
---Raises: for a wrong name, or an unknown option
---@param channel string its name
---@param fn fun(message: tidepool.Message) an error in it is logged
---@param opts? tidepool.SubscribeOptions
---@return tidepool.Subscription? sub
---@return tidepool.Err? err
function Redis:subscribe(channel, fn, opts) end

---The same for all channels that match a pattern.
---
---Errors: `badarg`, `server`, `closed`
---
---Raises: as `subscribe`
---@param pattern string "news.*"
---@param fn fun(message: tidepool.Message) `message.pattern` is set too
---@param opts? tidepool.SubscribeOptions
---@return tidepool.Subscription? sub
---@return tidepool.Err? err
function Redis:psubscribe(pattern, fn, opts) end

---The same for a sharded channel, on servers from version 7 on.
---
---Errors: `badarg`, `server`, `closed`
---
---Raises: as `subscribe`
---@param channel string its name
---@param fn fun(message: tidepool.Message) an error in it is logged
---@param opts? tidepool.SubscribeOptions
---@return tidepool.Subscription? sub
---@return tidepool.Err? err
function Redis:ssubscribe(channel, fn, opts) end

---Works on a stream as one consumer of a group, in a task of its own, an entry at a time. An entry is acknowledged when the
---function returns. When it raises, or gives `nil, err`, the entry comes again after `min_idle`: each is worked on at least
---once. It takes up what its own name was given before, and what others left.
---
---Errors: `badarg` - `max_connections` is 1
---
---Raises: for an unknown or wrong option
---@param opts tidepool.ConsumeOptions
---@param fn fun(entry: tidepool.Entry): any, any
---@return tidepool.Consumer? consumer
---@return tidepool.Err? err
function Redis:consume(opts, fn) end

---a table, or a function that gives one, or nil, err
---@class tidepool.Login
---@field password string no zero byte
---@field user? string without it, that of the url

---@class tidepool.Hooks
---@field after_connect? fun(conn: tidepool.PostgresLease|tidepool.RedisLease, info: tidepool.HookInfo): any, any
---@field before_acquire? fun(conn: tidepool.PostgresLease|tidepool.RedisLease, info: tidepool.HookInfo): any, any
---@field after_release? fun(conn: tidepool.PostgresLease|tidepool.RedisLease, info: tidepool.HookInfo): any, any

---What a hook is told of its connection.
---@class tidepool.HookInfo
---@field age number seconds since it connected
---@field idle number seconds since it was last used; 0 but in `before_acquire`

---A connection that a task has for itself, from `db:with`, `db:acquire` or `db:transaction`, where it is called `tx`. It
---goes back when its function or its task ends; only the task that has it may use it.
---@class tidepool.PostgresLease
local PostgresLease = {}

---Runs a statement and gives its rows.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`
---
---Raises: when the number of parameters is wrong, when one is a function or the like, for an unknown option, for COPY, and on a pool for what needs a connection of its own, as `BEGIN`
---@param sql string|tidepool.Statement one statement
---@param ... any its parameters
---@return tidepool.Rows? rows empty for a statement without a result
---@return tidepool.Err? err
function PostgresLease:query(sql, ...) end

---The first row of a statement's result.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`
---
---Raises: as `db:query`
---@param sql string|tidepool.Statement one statement
---@param ... any its parameters
---@return table? row by the columns' names; nil, without an err, when there is no row: `assert` takes that for a failure too, so look at the err first, then at the row; or `assert(db:query(...))[1]`, whose nil is no failure
---@return tidepool.Err? err
function PostgresLease:one(sql, ...) end

---Runs a statement for its effect.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`
---
---Raises: as `db:query`
---@param sql string|tidepool.Statement one statement
---@param ... any its parameters
---@return integer? count the number of rows affected
---@return tidepool.Err? err
function PostgresLease:exec(sql, ...) end

---Calls a function for each row, in batches of about 1 MiB: results of any size in little memory. On a pool, and on a
---connection without one, it is a transaction. It is no iterator: a loop that is left by `break` could not give the
---connection back before its task ends.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem` - and an err that the function raised, unless that was in a transaction of the caller's
---
---Raises: as `db:query`; when the last argument is no function; what else the function raises
---@param sql string|tidepool.Statement a query; `timeout_ms` is of each batch, `share` is not for it
---@param ... any its parameters and, last, `function(row)`; false from it ends it early
---@return integer? count the number of rows that the function saw
---@return tidepool.Err? err
function PostgresLease:each(sql, ...) end

---Runs several statements: at the same time, or in order as one transaction. On a lease always in order; the first that
---fails is then the last.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem` - of the first that failed; not atomic, others may have been done
---
---Raises: as `db:query`; for an unknown option
---@param list tidepool.Batch of lists: SQL and its parameters
---@return tidepool.Rows[]? results of each, in their order
---@return tidepool.Err? err
function PostgresLease:batch(list) end

---In a transaction a savepoint: undone alone when it fails, the rest goes on. On a connection without one a transaction.
---
---Errors: `server`, `timeout`, `closed`, `lost` - and any err that the function raised
---
---Raises: as `db:transaction`; for options inside of a transaction
---@param opts tidepool.LeaseTransactionOptions not in a transaction
---@param fn fun(tx: tidepool.PostgresLease): any `tx` is the same connection
---@return any ... what the function returned
---@overload fun(self: tidepool.PostgresLease, fn: fun(tx: tidepool.PostgresLease): any): any
function PostgresLease:transaction(opts, fn) end

---Gives the connection back. What it left open is rolled back or discarded by the pool.
---
---Raises: when another task has it
---@return boolean is_done false when that was done before
function PostgresLease:release() end

---The state of its transaction, as the server last said.
---@return "none"|"open"|"failed"|"unknown" state
function PostgresLease:tx() end

---@return integer? pid of the server's process; nil when the connection was taken back
function PostgresLease:pid() end

---What the server says of itself.
---
---Errors: `timeout`, `busy`, `refused`, `closed`
---@return tidepool.PostgresServer? server and other settings that it reports
---@return tidepool.Err? err
function PostgresLease:server() end

---Advisory locks: of the transaction where there is one, until its end; else of the connection, until `unlock` or its
---release. `lock` waits, `try_lock` does not. They order work across processes and machines.
---
---Errors: `server`, `timeout`, `closed`, `lost`
---
---Raises: for a key of another type, an unknown option, and `unlock` in a transaction
---@param key string|integer a whole number is the key itself, a string is hashed by the server
---@param opts? tidepool.LockOptions
---@return boolean? done of `lock` true; of `try_lock` false when another has it; of `unlock` false when this connection has not
---@return tidepool.Err? err
function PostgresLease:lock(key, opts) end

---Advisory locks: of the transaction where there is one, until its end; else of the connection, until `unlock` or its
---release. `lock` waits, `try_lock` does not. They order work across processes and machines.
---
---Errors: `server`, `timeout`, `closed`, `lost`
---
---Raises: for a key of another type, an unknown option, and `unlock` in a transaction
---@param key string|integer a whole number is the key itself, a string is hashed by the server
---@param opts? tidepool.LockOptions
---@return boolean? done of `lock` true; of `try_lock` false when another has it; of `unlock` false when this connection has not
---@return tidepool.Err? err
function PostgresLease:try_lock(key, opts) end

---Advisory locks: of the transaction where there is one, until its end; else of the connection, until `unlock` or its
---release. `lock` waits, `try_lock` does not. They order work across processes and machines.
---
---Errors: `server`, `timeout`, `closed`, `lost`
---
---Raises: for a key of another type, an unknown option, and `unlock` in a transaction
---@param key string|integer a whole number is the key itself, a string is hashed by the server
---@param opts? tidepool.LockOptions
---@return boolean? done of `lock` true; of `try_lock` false when another has it; of `unlock` false when this connection has not
---@return tidepool.Err? err
function PostgresLease:unlock(key, opts) end

---Sends what a source gives to `COPY ... FROM STDIN`, no faster than the server takes it.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`, `badarg` - and what the source gave; `badarg` for another statement. Nothing is kept then
---
---Raises: for a source of another type; for a row where the statement has options; what the source raises that is no err. Nothing is kept then
---@param sql string|tidepool.CopyStatement the statement
---@param source string|table|file*|fun(): any, any a string; a list of rows; a file that is open for reading; or a function that gives the next chunk, nil at the end, or `nil, err`. A chunk is text in the statement's format; or a row, a list of values, where the statement has no options, since rows go in the text format
---@return integer? count the number of rows
---@return tidepool.Err? err
function PostgresLease:copy_in(sql, source) end

---Gives what `COPY ... TO STDOUT` sends to a sink, no faster than that takes it.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`, `badarg`, `internal` - and what the sink gave; `badarg` for another statement, `internal` for a file that cannot be written
---
---Raises: for a sink of another type; what the sink raises that is no err
---@param sql string|tidepool.CopyStatement the statement
---@param sink file*|fun(chunk: string): any, any a file that is open for writing; or a function that gets whole rows as text, 256 KiB or so at once, and may end it early by `nil, err`
---@return integer? count the number of rows
---@return tidepool.Err? err
function PostgresLease:copy_out(sql, sink) end

---Sends a notification to all who listen to the channel, in all processes. In a transaction it is sent at COMMIT.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`
---
---Raises: for a wrong name or payload
---@param channel string at most 63 bytes
---@param payload? string under 8000 bytes
---@return true? done
---@return tidepool.Err? err
function PostgresLease:notify(channel, payload) end

---SQL with options, where a text alone would do.
---@class tidepool.Statement
---@field [1] string the SQL
---@field timeout_ms? number its deadline, the wait for a connection included; `statement_timeout` without it
---@field share? boolean false: on a connection that no other statement uses meanwhile
---@field int8? "number"|"string" int8 always as a number, or always as text
---@field null? lightuserdata `tide.null`: a column that is NULL has this value in a row

---of lists: SQL and its parameters
---@class tidepool.Batch
---@field [integer] table `{ sql, ... }`
---@field atomic? boolean true: one after the other in one transaction

---A result: `#rows`, `rows[i]`, `ipairs(rows)`. A row becomes a table when it is first looked at, the same one each time;
---rows that nobody looked at go to JSON without that.
---@class tidepool.Rows
---@field [integer] table a row, by the columns' names
local Rows = {}

---@return string[] names in the order of the statement
function Rows:columns() end

---@return integer count the number of rows that the statement changed, or gave
function Rows:affected() end

---@return table[] list the rows in a table of Lua, to be changed or sorted
function Rows:table() end

---how
---@class tidepool.TransactionOptions
---@field isolation? "read committed"|"repeatable read"|"serializable" else the server's default
---@field read_only? boolean
---@field deferrable? boolean
---@field retry? integer how often the function may be run again, from its start, after a conflict with others (SQLSTATE 40001, 40P01); 0 without it, 100 at most
---@field timeout_ms? number of each wait for a connection

---not in a transaction
---@class tidepool.LeaseTransactionOptions
---@field isolation? "read committed"|"repeatable read"|"serializable"
---@field read_only? boolean
---@field deferrable? boolean

---@class tidepool.AcquireOptions
---@field timeout_ms? number of the wait; `acquire_timeout` without it

---and other settings that it reports
---@class tidepool.PostgresServer
---@field version integer 150004
---@field server_version? string "15.4"
---@field server_encoding? string
---@field client_encoding? string
---@field application_name? string
---@field default_transaction_read_only? string "on" or "off"
---@field in_hot_standby? string "on" or "off"
---@field is_superuser? string "on" or "off"
---@field session_authorization? string who is connected
---@field DateStyle? string
---@field IntervalStyle? string
---@field TimeZone? string
---@field integer_datetimes? string "on" or "off"
---@field standard_conforming_strings? string "on" or "off"

---@class tidepool.LockOptions
---@field shared? boolean with others who share it; the same for `unlock`
---@field timeout_ms? number of the statement, and so of the wait

---the statement
---@class tidepool.CopyStatement
---@field [1] string the SQL
---@field timeout_ms? number of each wait for the server; `statement_timeout` without it

---@class tidepool.SubscribeOptions
---@field queue? integer how many messages may wait for the function, 1000 without it; then they are dropped, and told as one gap

---What a subscription's function gets: a message, or a gap.
---@class tidepool.Message
---@field channel? string nil in a gap of a pattern
---@field payload? string nil in a gap
---@field pattern? string of `cache:psubscribe`
---@field gap? boolean true: messages may have been missed here; look at what they are about
---@field reason? string of a gap
---@field dropped? integer how many, where the queue was full

---A subscription of a pool, of Postgres or Redis.
---@class tidepool.Subscription
local Subscription = {}

---Ends it. Nothing more is handed over; a function that runs goes on to its end.
---@return boolean is_done false when that was done before
function Subscription:close() end

---@return tidepool.SubscriptionStats stats
function Subscription:stats() end

---@class tidepool.SubscriptionStats
---@field received integer messages
---@field dropped integer since the queue was full, or at its close
---@field gaps integer
---@field failures integer errors of the function
---@field queued integer messages that wait for the function
---@field live boolean the server has confirmed it
---@field last_gap? string its reason
---@field error? tidepool.Err what the server refused it with

---A connection that a task has for itself, from `cache:with` or `cache:acquire`: for WATCH, MULTI by hand, SELECT, long
---blocking commands.
---@class tidepool.RedisLease: tidepool.RedisCommands
---@field [string] fun(self: any, ...: string|number): any, tidepool.Err? any command by its name
local RedisLease = {}

---Any command, also of two words.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem`
---
---Raises: for a word that is no string or number; for a command that would change a shared connection, as SELECT, and for SUBSCRIBE and the like: the message says what to call
---@param command string its name
---@param ... string|number its words
---@return any reply nil without an err is Redis' nil
---@return tidepool.Err? err
function RedisLease:call(command, ...) end

---Sends several commands in one go.
---
---Errors: `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem`
---
---Raises: as `cache:call`
---@param fn fun(p: tidepool.Pipeline) calls the commands on `p`; it must not wait
---@return any[]? replies in their order: `tide.null` for nil, an err where a command failed
---@return tidepool.Err? err
function RedisLease:pipeline(fn) end

---The same between MULTI and EXEC: all or nothing, and nothing of others in between.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem` - `server` when Redis refused one of the commands, and so ran none; where it refused all of them, the list has their errs
---
---Raises: as `cache:call`
---@param fn fun(m: tidepool.Pipeline) calls the commands on `m`; it must not wait
---@return any[]? replies as of `pipeline`; nil, without an err, on a connection that watches a key which changed
---@return tidepool.Err? err
function RedisLease:multi(fn) end

---An iterator over keys: each at least once, some twice. With a cursor, as `cache:scan(0)`, it is the command.
---
---Raises: for an unknown option; in the loop an err when a step failed, since a loop could only end
---@param opts? tidepool.ScanOptions
---@return fun(): string? next
function RedisLease:scan(opts) end

---An iterator over a hash, as `scan`.
---
---Raises: as `scan`
---@param key string|number
---@param opts? tidepool.ScanOptions
---@return fun(): string?, string? next field, value
function RedisLease:hscan(key, opts) end

---An iterator over a set, as `scan`.
---
---Raises: as `scan`
---@param key string|number
---@param opts? tidepool.ScanOptions
---@return fun(): string? next member
function RedisLease:sscan(key, opts) end

---An iterator over a sorted set, as `scan`.
---
---Raises: as `scan`
---@param key string|number
---@param opts? tidepool.ScanOptions
---@return fun(): string?, number? next member, score
function RedisLease:zscan(key, opts) end

---Gives the connection back. What it left open, as WATCH, MULTI or SELECT, is cleared by the pool.
---
---Raises: when another task has it
---@return boolean is_done false when that was done before
function RedisLease:release() end

---@class tidepool.RedisCommands
local RedisCommands = {}

---The value, nil without one.
---@param key string|number
---@return string? reply
---@return tidepool.Err? err
function RedisCommands:get(key) end

---The value, which is deleted.
---@param key string|number
---@return string? reply
---@return tidepool.Err? err
function RedisCommands:getdel(key) end

---"OK"; nil when NX or XX did not hold.
---@param key string|number
---@param value string|number
---@param ... string|number
---@return string? reply
---@return tidepool.Err? err
function RedisCommands:set(key, value, ...) end

---Values, `tide.null` where there is none.
---@param ... string|number
---@return any[]? reply
---@return tidepool.Err? err
function RedisCommands:mget(...) end

---"OK". Key, value, key, value ...
---@param ... string|number
---@return string? reply
---@return tidepool.Err? err
function RedisCommands:mset(...) end

---How many keys there were.
---@param ... string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:del(...) end

---How many of the keys there are.
---@param ... string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:exists(...) end

---1; 0 without the key.
---@param key string|number
---@param seconds string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:expire(key, seconds) end

---1; 0 without the key.
---@param key string|number
---@param ms string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:pexpire(key, ms) end

---Seconds; -1 without an end, -2 without the key.
---@param key string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:ttl(key) end

---"string", "hash" ..., "none".
---@param key string|number
---@return string? reply
---@return tidepool.Err? err
function RedisCommands:type(key) end

---The new value.
---@param key string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:incr(key) end

---The new value.
---@param key string|number
---@param n string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:incrby(key, n) end

---The new value.
---@param key string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:decr(key) end

---The field's value.
---@param key string|number
---@param field string|number
---@return string? reply
---@return tidepool.Err? err
function RedisCommands:hget(key, field) end

---How many fields are new. Field, value, field, value ...
---@param key string|number
---@param ... string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:hset(key, ...) end

---A list of fields and values; by field in RESP3.
---@param key string|number
---@return table? reply
---@return tidepool.Err? err
function RedisCommands:hgetall(key) end

---Values, `tide.null` where there is none.
---@param key string|number
---@param ... string|number
---@return any[]? reply
---@return tidepool.Err? err
function RedisCommands:hmget(key, ...) end

---How many fields there were.
---@param key string|number
---@param ... string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:hdel(key, ...) end

---The new value.
---@param key string|number
---@param field string|number
---@param n string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:hincrby(key, field, n) end

---The new length.
---@param key string|number
---@param ... string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:lpush(key, ...) end

---The new length.
---@param key string|number
---@param ... string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:rpush(key, ...) end

---An element, or with a count a list of them; nil without one.
---@param key string|number
---@param count? string|number
---@return any reply
---@return tidepool.Err? err
function RedisCommands:lpop(key, count) end

---The same from the end.
---@param key string|number
---@param count? string|number
---@return any reply
---@return tidepool.Err? err
function RedisCommands:rpop(key, count) end

---Elements from first to last, from 0 on, -1 the last one.
---@param key string|number
---@param first string|number
---@param last string|number
---@return string[]? reply
---@return tidepool.Err? err
function RedisCommands:lrange(key, first, last) end

---The length.
---@param key string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:llen(key) end

---Key and element; nil when the seconds, the last word, passed.
---@param ... string|number
---@return string[]? reply
---@return tidepool.Err? err
function RedisCommands:blpop(...) end

---How many members are new.
---@param key string|number
---@param ... string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:sadd(key, ...) end

---How many members there were.
---@param key string|number
---@param ... string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:srem(key, ...) end

---1 or 0.
---@param key string|number
---@param member string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:sismember(key, member) end

---All members.
---@param key string|number
---@return string[]? reply
---@return tidepool.Err? err
function RedisCommands:smembers(key) end

---How many members.
---@param key string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:scard(key) end

---How many members are new. Score, member, score, member ...
---@param key string|number
---@param ... string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:zadd(key, ...) end

---The new score; text before RESP3.
---@param key string|number
---@param n string|number
---@param member string|number
---@return (string|number)|nil reply
---@return tidepool.Err? err
function RedisCommands:zincrby(key, n, member) end

---The score, text before RESP3; nil without the member.
---@param key string|number
---@param member string|number
---@return any reply
---@return tidepool.Err? err
function RedisCommands:zscore(key, member) end

---Members, by rank or as the words say.
---@param key string|number
---@param first string|number
---@param last string|number
---@param ... string|number
---@return any[]? reply
---@return tidepool.Err? err
function RedisCommands:zrange(key, first, last, ...) end

---How many members there were.
---@param key string|number
---@param ... string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:zrem(key, ...) end

---How many members.
---@param key string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:zcard(key) end

---How many clients got it.
---@param channel string|number
---@param payload string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:publish(channel, payload) end

---The entry's id. Field, value, field, value ...; "*" for a new id.
---@param key string|number
---@param id string|number
---@param ... string|number
---@return string? reply
---@return tidepool.Err? err
function RedisCommands:xadd(key, id, ...) end

---How many entries.
---@param key string|number
---@return integer? reply
---@return tidepool.Err? err
function RedisCommands:xlen(key) end

---"PONG".
---@return string? reply
---@return tidepool.Err? err
function RedisCommands:ping() end

---"OK"; on a lease only.
---@param ... string|number
---@return string? reply
---@return tidepool.Err? err
function RedisCommands:watch(...) end

---Records commands, `p:incr "visits"`; what they give comes from `pipeline` or `multi` in the end.
---@class tidepool.Pipeline
---@field [string] fun(self: any, ...: string|number) any command by its name
local Pipeline = {}

---Any command, also of two words.
---@param command string its name
---@param ... string|number its words
function Pipeline:call(command, ...) end

---@class tidepool.ScanOptions
---@field match? string a pattern, "user:*"
---@field count? integer about how many the server looks at in one step
---@field type? string keys of this type only; of `scan` alone

---@class tidepool.ScriptOptions
---@field read_only? boolean it writes nothing, so it may be sent twice after a lost connection

---A Lua script of the server, which is called as a function.
---Runs it.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem`
---
---Raises: for a key or an argument that is no string or number
---@class tidepool.Script
---@overload fun(keys: table, ...: string|number): any, tidepool.Err?
local Script = {}

---Runs it on a connection of its own, or as a part of a pipeline or multi.
---
---Errors: `server`, `timeout`, `closed`, `lost`, `protocol`, `nomem`
---
---Raises: as the call itself
---@param target tidepool.RedisLease|tidepool.Pipeline
---@param keys table the list of keys, KEYS of the script
---@param ... string|number ARGV of the script
---@return any reply nil in a pipeline, whose replies have it
---@return tidepool.Err? err
function Script:on(target, keys, ...) end

---@class tidepool.ConsumeOptions
---@field stream string the key; made where there is none
---@field group string made where there is none
---@field consumer? string its name in the group; one of its own without it
---@field start? string where a new group begins: "0", the default, or "$" for what comes
---@field count? integer how many entries are fetched at once, 10
---@field block? number seconds of a wait for new ones, 5
---@field min_idle? number seconds after which what nobody acknowledged is taken over, 60
---@field max_deliveries? integer how often an entry may fail before it goes to `on_failure`, 5
---@field on_failure? fun(entry: tidepool.Entry, err: any) gets what failed so often; then it is acknowledged. Without it entries are tried for ever, and `max_deliveries` raises

---An entry of a stream.
---@class tidepool.Entry
---@field id string "1700000000000-0"
---@field stream string the key
---@field fields table<string, string> by name
---@field list string[] name, value, name, value, as they stand in the entry
---@field deliveries integer how often it was delivered, this time included

---One consumer of a group, which works until it is closed.
---@class tidepool.Consumer
local Consumer = {}

---Ends it: the entry that runs is finished, what was fetched with it stays pending.
---@return boolean is_done false when that was done before
function Consumer:close() end

---Waits until it has ended.
---@return true done
function Consumer:wait() end

---@return tidepool.ConsumerStats stats
function Consumer:stats() end

---@class tidepool.ConsumerStats
---@field stream string
---@field group string
---@field consumer string
---@field handled integer entries that were done
---@field failed integer times that the function failed
---@field given_up integer entries that went to `on_failure`
---@field recovered integer entries of its own from before
---@field claimed integer entries that others left
---@field errors integer failures of the server
---@field last_error? tidepool.Err while it is held up

---@class tidepool.WriteBehindOptions
---@field db tidepool.Postgres
---@field table? string with the columns `key`, `value jsonb` and `version bigint`, all NOT NULL; `key` is its primary key
---@field key? string the name of its key's column, "key"; it may be of any type
---@field name? string the table's without it. One of that name that is open is gone on with
---@field store? fun(tx: tidepool.PostgresLease, changes: tidepool.WriteBehindChange[]): any, any without `table`: stores the changes in the transaction `tx`; each has `key`, `value` and `version`, and must leave what has a higher version. All are stored, or, when it raises or gives `nil, err`, none, and they come again
---@field load? fun(key: string): any, any with `store`: gives value and version, nothing, or `nil, err`
---@field flush? number seconds until what was put is logged and stored, 1
---@field max_dirty? integer how many keys may wait to be stored, 10000: a `put` of one more is refused
---@field max_age? number of the loss window, in seconds: while it is larger, `put` is refused
---@field log? string the path of a log: a process has a file of its own there, `path.PID.N`, to which it appends, and syncs, what is not stored, each `flush` seconds. What a process leaves there that ends suddenly, the next one stores. It is empty while all is stored. With `--confine`, it must be in `record.dump_dir`

---What `store` gets.
---@class tidepool.WriteBehindChange
---@field key string
---@field value any
---@field version integer

---A write-behind. A key is a text or a whole number, which is its digits; a value is what `tide.encode` takes.
---@class tidepool.WriteBehind
local WriteBehind = {}

---The key's value: from memory while it is not stored, otherwise from the database.
---
---Errors: `lost`, `refused`, `timeout`, `busy`, `server` - as of `db:one`
---@param key string|integer
---@return any value a copy; nil when there is none
---@return tidepool.Err? err
function WriteBehind:get(key) end

---The key has this value from now on. What the table `value` becomes later is not stored.
---
---Errors: `busy`, `closed` - there is no room; the process is ending
---
---Raises: for what is no key, and what is no JSON
---@param key string|integer
---@param value any
---@return true? done
---@return tidepool.Err? err
function WriteBehind:put(key, value) end

---The same for several keys, as of two players who trade: they are stored in one transaction, and logged in one line, both or
---neither. So is what is put of one of them until that is stored.
---
---Errors: `busy`, `closed` - and none of them is put
---
---Raises: for what is no key, and what is no JSON
---@param values table<string|integer, any> by key
---@return true? done
---@return tidepool.Err? err
function WriteBehind:put_all(values) end

---Stores all that was put, or all that was put of one key, at once, and waits for that.
---
---Errors: `lost`, `refused`, `timeout`, `busy`, `server`, `closed` - as of `db:transaction`: it is tried again later
---@param key? string|integer
---@return true? done it is in the database
---@return tidepool.Err? err
function WriteBehind:flush(key) end

---The same, trying again and again.
---
---Errors: `timeout` - it says how many changes are not stored
---@param seconds number
---@return true? done
---@return tidepool.Err? err
function WriteBehind:drain(seconds) end

---Makes the table where there is none, with keys of type text.
---
---Errors: `lost`, `refused`, `timeout`, `busy`, `server` - as of `db:one`
---
---Raises: when there is no `table`
---@return true? done
---@return tidepool.Err? err
function WriteBehind:create() end

---@return tidepool.WriteBehindStats stats
function WriteBehind:stats() end

---Says that the script needs it no more. What is dirty is stored; what is put until then, too. A version of the script that is
---replaced does so by itself when its requests are over.
---@return boolean is_done false when that was done before
function WriteBehind:close() end

---@class tidepool.WriteBehindStats
---@field name string
---@field dirty integer keys whose latest value is not stored
---@field in_flight integer how many of them are being stored now
---@field oldest_dirty number seconds since the oldest change among them
---@field loss_window number the same of what is in no log either: what a crash would take
---@field flushes integer times that all was stored
---@field stored integer values that were
---@field failures integer times that some could not be
---@field superseded integer values that were dropped, because a newer one was in the table; the log names them
---@field replayed integer values of logs that other processes left
---@field refused integer puts for which there was no room
---@field log_failures integer times that the log could not be written
---@field log_bytes? integer its size
---@field last_error? tidepool.Err while it cannot store

---@class tidepool.QueueOptions
---@field db tidepool.Postgres
---@field name string at most 48 bytes; queues of one name in all processes are one

---A job queue.
---@class tidepool.Queue
local Queue = {}

---Adds a job, and wakes a consumer when it commits.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`
---
---Raises: for a wrong option, and what is no JSON
---@param tx tidepool.PostgresLease|nil the transaction that it belongs to; nil: it stands alone
---@param payload any what `tide.encode` takes
---@param opts? tidepool.JobOptions
---@return integer? id
---@return tidepool.Err? err
function Queue:add(tx, payload, opts) end

---Works on jobs, several at the same time, until it is closed or the script's next version replaces it. A job is done, and deleted,
---when the function returns. When it raises or gives `nil, err`, it comes again, later each time; after its `retries` it stays in
---the table, with `is_dead` and `error`.
---
---Raises: for an unknown or wrong option
---@param fn fun(job: tidepool.Job): any, any
---@param opts? tidepool.QueueConsumeOptions
---@return tidepool.QueueConsumer worker
function Queue:consume(fn, opts) end

---Makes the table where there is none.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`
---@return true? done
---@return tidepool.Err? err
function Queue:create() end

---@return string sql the statements that make the table, for migrations
function Queue:schema() end

---What is in the table.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`
---@return tidepool.QueueStats? stats
---@return tidepool.Err? err
function Queue:stats() end

---@class tidepool.JobOptions
---@field delay? number seconds until it is due, 0
---@field key? string jobs of one key run one after another, in the order in which they were added, as far as their transactions did not overlap; one that is tried again holds up those behind it

---@class tidepool.QueueConsumeOptions
---@field tasks? integer how many at the same time, 4
---@field visibility? number seconds after which a job whose process is gone is another's, 30. It is prolonged while the job runs
---@field retries? integer how often a job is tried again, 5
---@field backoff? number seconds before that, 1; doubled each time, to an hour at most

---@class tidepool.Job
---@field id integer
---@field key? string
---@field payload any
---@field attempts integer how often it was taken, this time included

---@class tidepool.QueueStats
---@field ready integer jobs that are due
---@field later integer jobs that will be, and those that run
---@field dead integer jobs that were given up
---@field oldest number seconds since the first of those that are due is

---A consumer of a queue.
---@class tidepool.QueueConsumer
local QueueConsumer = {}

---Takes no more jobs; those that run are finished.
---@return boolean is_done false when that was done before
function QueueConsumer:close() end

---Waits until it has ended.
---@return true done
function QueueConsumer:wait() end

---@return tidepool.QueueConsumerStats stats
function QueueConsumer:stats() end

---@class tidepool.QueueConsumerStats
---@field queue string
---@field running integer
---@field handled integer jobs that were done
---@field failed integer times that the function failed
---@field retried integer of these, those that come again
---@field dead integer jobs that were given up
---@field lost integer jobs that another took while they ran: the server was away for longer than `visibility`
---@field errors integer failures of the server; jobs that ran then come again
---@field last_error? tidepool.Err while it is held up

---A task that `tide.spawn` or `tide.every` started.
---@class tidepool.Task
local Task = {}

---Waits until it has ended.
---
---Raises: when a task waits for itself
---@return boolean ok false when it failed, or was cancelled
---@return any ... its results, or its error
function Task:wait() end

---Cancels it: the call that it waits in raises an err with code `cancelled`.
function Task:cancel() end

---@return boolean is_done it has ended
function Task:done() end

---@return integer id its number in the log
function Task:id() end

---what it is about; 1 and "1" are two keys
---@class tidepool.SerialKey
---@field [1] string|number the key
---@field timeout? number seconds to wait at most; without it, as long as the task lives

---@class tidepool.MemoOptions
---@field load? fun(key: string|number, ...: any): any, any the function, where it is not the second argument
---@field ttl? number seconds to keep a value, 60 without it; each a little less, up to a tenth, so that they do not end together
---@field stale? number seconds after that for which the old value is given at once, while a task loads a new one; 0 without it
---@field stale_if_error? number seconds after `ttl` for which the old value is given when loading fails; 0 without it
---@field negative_ttl? number seconds to keep nil; 0, not at all, without it
---@field max_entries? integer 10000 without it; then the one goes that nobody asked for the longest
---@field max_waiting? integer how many may wait for one load, 1000 without it
---@field name? string for messages, and for the keys in Redis
---@field redis? tidepool.Redis the second level; with a name
---@field lease? number seconds that one load may take before another process begins one too; 10 without it

---What `tide.memo` made.
---@class tidepool.Memo
local Memo = {}

---
---Errors: `busy` - `max_waiting`, or a dead-lock; and whatever the function gave as err
---
---Raises: an error of the function that is no err; when a loader asks for the key that it loads
---@param key string|number
---@param ... any more arguments of the function, for when it loads; they are not part of the key
---@return any value false and tables too: all who ask get the same table
---@return tidepool.Err? err
function Memo:get(key, ...) end

---Forgets a value, so that the next `get` loads. What is being loaded meanwhile is given to those who wait, and not kept. With `redis` it is
---forgotten there too; other processes have it until its `ttl` ends.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem` - of Redis
---@param key string|number
---@return true? done
---@return tidepool.Err? err
function Memo:forget(key) end

---@return tidepool.MemoStats stats
function Memo:stats() end

---@class tidepool.MemoStats
---@field hits integer
---@field misses integer gets that waited, for a load of their own or another's
---@field loads integer
---@field stale integer gets that were given an old value
---@field errors integer loads that failed
---@field refused integer gets beyond `max_waiting`
---@field evictions integer values that went for `max_entries`
---@field entries integer kept now
---@field waiting integer gets that wait for another's load now
---@field shared_hits? integer loads that Redis answered; with `redis`
---@field away? integer times that Redis did not answer; with `redis`
---@field last_error? string

---@class tidepool.RateLimitOptions
---@field rate number tokens a second, above 0
---@field burst? integer how many may be taken at once; without it as many as come in a second, 1 at least
---@field name? string for the keys in Redis, `tidepool:ratelimit:{NAME}:`
---@field redis? tidepool.Redis with a name
---@field lease? integer 1 without it: exact, with a trip for each
---@field when_away? "local"|"open"|"closed" what counts while Redis does not answer, which is asked again after a second: a bucket of this process, everything is allowed, or nothing; "local" without it

---What `tide.ratelimit` made. Buckets that are full again are forgotten.
---@class tidepool.RateLimit
local RateLimit = {}

---
---Raises: for more than `burst`
---@param key string|number who is limited: a user, an address
---@param n? number tokens, 1 without it; whole ones with `redis`
---@return boolean is_allowed all of them were there, or none was taken
---@return number? retry_after seconds until they will be; when it is not allowed
function RateLimit:take(key, n) end

---@return tidepool.RateLimitStats stats
function RateLimit:stats() end

---@class tidepool.RateLimitStats
---@field allowed integer
---@field refused integer
---@field trips integer to Redis
---@field away integer trips without an answer
---@field keys integer buckets in memory
---@field last_error? string

---one of `redis` and `postgres`
---@class tidepool.LockByOptions
---@field redis? tidepool.Redis keys begin with `tidepool:lock:{NAME}`; the fence is counted there and must not be evicted
---@field postgres? tidepool.Postgres the fence is a transaction's number
---@field ttl? number seconds of the lease in Redis, 10 without it: how long others wait for a process that died
---@field timeout? number seconds to wait for it; without it, as long as the task lives

---What happened. Fields that do not apply are absent.
---@class tidepool.PoolEvent
---@field event tidepool.EventName which
---@field pool string its name
---@field kind? "postgres"|"redis" not of `policy_changed`
---@field conn? integer the connection's number
---@field reason? string of `close`, see the counts of stats; of `policy_changed`, the policy's words
---@field policy? string its name
---@field setting? string of `policy_changed`, with
---@field from? number its value before, and
---@field to? number after
---@field outcome? string `applied`; `clamped`, not as far as was wanted; `reverted`, for it made waits worse
---@field error? string a sentence
---@field sqlstate? string
---@field site? string "app.lua:42", who holds it or waits
---@field took? number seconds of the connect
---@field age? number seconds that a closed connection lived
---@field retry? number seconds until the next attempt
---@field waited? number seconds of the wait
---@field held? number seconds of the lease
---@field lasted? number seconds that the pool has been exhausted, or was exhausted or degraded before it recovered

---What `tide.on` gives.
---@class tidepool.EventHandler
local EventHandler = {}

---Ends it. A function that runs goes on to its end.
---@return boolean is_done false when that was done before
function EventHandler:close() end

---@return tidepool.EventHandlerStats stats
function EventHandler:stats() end

---@class tidepool.EventHandlerStats
---@field delivered integer
---@field dropped integer
---@field failures integer errors of the function
---@field queued integer events that wait for the function

---Routes and their handlers. Its methods give the app itself.
---@class tidepool.App
local App = {}

---Adds a handler for a method and a path.
---
---Raises: when the route is there already; for a wrong path, or an unknown or wrong option
---@param path string "/users/:id": a part; "/files/*rest": all that follows. Fixed parts come before these
---@param opts tidepool.RouteOptions
---@param fn fun(req: tidepool.Request): string|tidepool.Reply
---@return tidepool.App app itself
---@overload fun(self: tidepool.App, path: string, fn: fun(req: tidepool.Request): string|tidepool.Reply): tidepool.App
function App:get(path, opts, fn) end

---Adds a handler for a method and a path.
---
---Raises: when the route is there already; for a wrong path, or an unknown or wrong option
---@param path string "/users/:id": a part; "/files/*rest": all that follows. Fixed parts come before these
---@param opts tidepool.RouteOptions
---@param fn fun(req: tidepool.Request): string|tidepool.Reply
---@return tidepool.App app itself
---@overload fun(self: tidepool.App, path: string, fn: fun(req: tidepool.Request): string|tidepool.Reply): tidepool.App
function App:post(path, opts, fn) end

---Adds a handler for a method and a path.
---
---Raises: when the route is there already; for a wrong path, or an unknown or wrong option
---@param path string "/users/:id": a part; "/files/*rest": all that follows. Fixed parts come before these
---@param opts tidepool.RouteOptions
---@param fn fun(req: tidepool.Request): string|tidepool.Reply
---@return tidepool.App app itself
---@overload fun(self: tidepool.App, path: string, fn: fun(req: tidepool.Request): string|tidepool.Reply): tidepool.App
function App:put(path, opts, fn) end

---Adds a handler for a method and a path.
---
---Raises: when the route is there already; for a wrong path, or an unknown or wrong option
---@param path string "/users/:id": a part; "/files/*rest": all that follows. Fixed parts come before these
---@param opts tidepool.RouteOptions
---@param fn fun(req: tidepool.Request): string|tidepool.Reply
---@return tidepool.App app itself
---@overload fun(self: tidepool.App, path: string, fn: fun(req: tidepool.Request): string|tidepool.Reply): tidepool.App
function App:patch(path, opts, fn) end

---Adds a handler for a method and a path.
---
---Raises: when the route is there already; for a wrong path, or an unknown or wrong option
---@param path string "/users/:id": a part; "/files/*rest": all that follows. Fixed parts come before these
---@param opts tidepool.RouteOptions
---@param fn fun(req: tidepool.Request): string|tidepool.Reply
---@return tidepool.App app itself
---@overload fun(self: tidepool.App, path: string, fn: fun(req: tidepool.Request): string|tidepool.Reply): tidepool.App
function App:delete(path, opts, fn) end

---Adds a handler for a method and a path.
---
---Raises: when the route is there already; for a wrong path, or an unknown or wrong option
---@param path string "/users/:id": a part; "/files/*rest": all that follows. Fixed parts come before these
---@param opts tidepool.RouteOptions
---@param fn fun(req: tidepool.Request): string|tidepool.Reply
---@return tidepool.App app itself
---@overload fun(self: tidepool.App, path: string, fn: fun(req: tidepool.Request): string|tidepool.Reply): tidepool.App
function App:head(path, opts, fn) end

---Adds a handler for a method and a path.
---
---Raises: when the route is there already; for a wrong path, or an unknown or wrong option
---@param path string "/users/:id": a part; "/files/*rest": all that follows. Fixed parts come before these
---@param opts tidepool.RouteOptions
---@param fn fun(req: tidepool.Request): string|tidepool.Reply
---@return tidepool.App app itself
---@overload fun(self: tidepool.App, path: string, fn: fun(req: tidepool.Request): string|tidepool.Reply): tidepool.App
function App:options(path, opts, fn) end

---The same for any method.
---
---Raises: as `app:get`
---@param method string "PURGE"
---@param path string as of `app:get`
---@param opts tidepool.RouteOptions
---@param fn fun(req: tidepool.Request): string|tidepool.Reply
---@return tidepool.App app itself
---@overload fun(self: tidepool.App, method: string, path: string, fn: fun(req: tidepool.Request): string|tidepool.Reply): tidepool.App
function App:route(method, path, opts, fn) end

---Calls a function before this version of the script serves, with the state that the version before handed over. Where it fails,
---the version before goes on; the first version, then, does not start.
---
---Raises: when there is one already
---@param fn fun(state: any) what `app:on_unload` of the version before gave, as a copy; nil: this version is the first of its process, or that one gave nothing
---@return tidepool.App app itself
function App:on_load(fn) end

---Calls a function when the next version of the script has loaded, for the state to hand over: plain data, that is booleans,
---numbers, texts, `tide.null` and tables of these, without metatables, of at most 8 MiB, where each value counts as 16 bytes more
---than its text. Anything else is refused with the place of it, and so is the reload. This version may have to go on after the
---function, so it should end nothing, and it serves until `on_load` has returned: where neither function waits, nothing happens
---in between that the state would not have. Both together have 10 s, and the budgets of
---scripts. It is not called at the end of the process: each worker starts with none. `tide.request` calls `on_load(nil)` once.
---
---Raises: when there is one already
---@param fn fun(): any the state
---@return tidepool.App app itself
function App:on_unload(fn) end

---@class tidepool.RouteOptions
---@field on_disconnect? "cancel"|"finish" what becomes of a handler whose client goes away: GET and HEAD are cancelled, the others finish
---@field timeout_ms? number of the handler, and of all that it waits for: 504; `server.request_timeout` without it, `math.huge`: none
---@field max_body_bytes? integer of a request: 413; without it that of the server's limits, which may be smaller
---@field body? "stream" the handler runs before the body is there, and reads it by `req:read`
---@field max_concurrent? integer handlers of this route at the same time: 503

---What a handler gets.
---@class tidepool.Request
---@field method string "GET"
---@field path string without the query, as it was sent
---@field params table<string, string> the parts of the path that the route names, decoded
---@field query table<string, string> decoded; of a name that stands twice the last
---@field headers table<string, string> names in lower case; of a name that stands twice the values, joined by ", "
---@field body string raises where the route has `body = "stream"`
---@field remote string the client's address
---@field class "critical"|"normal"|"batch" what its task asks pools for, see `tide.class`; `normal` unless it is set
---@field id string the client's `X-Request-Id` where that has 1 to 64 letters, digits and `-_.:/+=@`, else 32 hexadecimal digits
---@field trace tidepool.Trace as W3C Trace Context has it: that of the client's `traceparent`, or one that begins now, since there is none or it is not valid
local Request = {}

---The body as JSON.
---
---Errors: `badarg` - with `status` 400, so that `assert(req:json())` answers so
---
---Raises: where the route has `body = "stream"`
---@return any value
---@return tidepool.Err? err
function Request:json() end

---The next piece of the body: what of it has come, or the first that comes. Of a route with `body = "stream"` as the client
---sends it: what nobody reads waits in a buffer of 128 KiB at most, and then at the client, who is asked by a 100 for a body
---that it holds back at the first `read`. Of other routes the body is read from memory.
---
---A reply may come before the end. What is left of the body is then dropped up to 256 KiB, else the connection ends after
---the reply. After that there is nothing more to read.
---
---Errors: `closed`, `badarg`, `protocol`, `timeout` - the client has gone, or the request was answered; the body is larger than `max_body_bytes` (`status` is 413); its chunks are wrong (400); nothing came for `body_timeout` of the server's limits (408)
---
---Raises: when another task reads it; for a wrong size
---@param size? integer bytes at most, 64 KiB without it and at most
---@return string? piece nil at the end of the body
---@return tidepool.Err? err
function Request:read(size) end

---Iterates over the body: `for piece in req:chunks() do`.
---
---Raises: for a wrong size
---@param size? integer as of `req:read`
---@return fun(): string? next for the loop; it raises the err that `req:read` would give
function Request:chunks(size) end

---as W3C Trace Context has it: that of the client's `traceparent`, or one that begins now, since there is none or it is not valid
---@class tidepool.Trace
---@field trace_id string 32 hexadecimal digits
---@field span_id string 16, of this request
---@field parent_id? string 16, the client's span; none where the trace begins here
---@field sampled boolean the client's flag; of traces that begin here the share `server.trace_sample` has it
---@field traceparent string what requests that this one makes should send
---@field tracestate? string the client's, unchanged, to be sent along; none where it is longer than 512 characters

---A reply as a table. A string alone is a reply with status 200, as text.
---@class tidepool.Reply
---@field status? integer from 200 to 599, 200 without it
---@field headers? table<string, any> strings; a list of them for a name that stands repeatedly. Content-Length and the like are the server's
---@field body? string|tidepool.Rows rows go as JSON

---@class tidepool.StreamOptions
---@field status? integer 200 without it
---@field headers? table<string, any>

---What the function of `tide.stream` writes to.
---@class tidepool.ReplyStream
local ReplyStream = {}

---Sends a piece, and waits while the client is slow.
---
---Errors: `closed` - the client has gone
---
---Raises: when it is no string
---@param text string
---@return true? done
---@return tidepool.Err? err
function ReplyStream:write(text) end

---Ends a thing, by its `close()` or `cancel()`, when the reply ends, however it does.
---@param thing any a subscription, a task ...
---@return any thing the same
function ReplyStream:own(thing) end

---@class tidepool.EventsOptions
---@field heartbeat? number seconds between signs of life, 15
---@field headers? table<string, any>

---What the function of `tide.events` sends to.
---@class tidepool.EventStream: tidepool.ReplyStream
---@field last_id? string the id of the last event that the client saw before it came again
local EventStream = {}

---Sends an event.
---
---Errors: `closed` - the client has gone
---
---Raises: for an unknown field
---@param event string|tidepool.Event a text is its data
---@return true? done
---@return tidepool.Err? err
function EventStream:send(event) end

---Waits until the client goes away or the server drains.
---
---Raises: then, an err with code `cancelled`, which ends the reply: it does not return
function EventStream:wait() end

---a text is its data
---@class tidepool.Event
---@field event? string its name, one line
---@field data? any text; a table goes as JSON
---@field id? string|number one line
---@field retry? number milliseconds until the client comes again

---What a host asks.
---@class tidepool.HandlerCall
---@field name string
---@field payload any where the host asks in JSON or MessagePack the value, as of `tide.decode` or `tide.msgpack_decode`, nil without any; else its bytes, "" without any
local HandlerCall = {}

---The payload of bytes as JSON.
---
---Errors: `badarg` - it is none
---
---Raises: when it is no string
---@return any value
---@return tidepool.Err? err
function HandlerCall:json() end

---@class tidepool.RequestOptions
---@field body? string|fun(): string? a text, or a function that gives the next piece, nil at the end
---@field headers? table<string, string>
---@field json? any sent as JSON, instead of a body

---What an app answered.
---@class tidepool.Response
---@field status integer
---@field headers table<string, any> names in lower case
---@field body string of a streamed reply all pieces
---@field is_whole boolean false when a streamed reply was cut
local Response = {}

---The body as JSON.
---
---Errors: `badarg` - it is none
---@return any value
---@return tidepool.Err? err
function Response:json() end

---@class tidepool.SessionOptions
---@field redis tidepool.Redis
---@field db? tidepool.Postgres with a table that `create()` makes
---@field ttl? number seconds from the last look at a session to its end, 86400; with `db` up to a tenth more
---@field name? string what keys, table and cookie are called, "session": up to 40 of a-z, 0-9 and _
---@field max_bytes? integer of a session's data as JSON, 16384

---Sessions of one name.
---@class tidepool.Sessions
---@field schema? string with `db`: the statements that `create()` runs, for migrations
local Sessions = {}

---Makes the table, where there is none.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`
---
---Raises: without `db`
---@return true? done
---@return tidepool.Err? err
function Sessions:create() end

---A new session.
---
---Errors: `badarg`, `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem` - `badarg`: larger than `max_bytes`
---
---Raises: for data that is not plain
---@param data table plain data: texts, numbers, booleans, `tide.null`, and tables of these. It is kept as JSON: lists come back as lists, other numbers among the keys as texts
---@param user? string|number whose it is, up to 200 bytes; a number becomes text
---@return string? token for the client; `session: Session` - as `get` would give it
---@return tidepool.Err? err
function Sessions:open(data, user) end

---The session of a token, which lasts its ttl from now on.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem`
---
---Raises: when the token is no text
---@param token string as the client sent it
---@return tidepool.Session? session nil, without an err, when there is none
---@return tidepool.Err? err
function Sessions:get(token) end

---Changes a session's data, when it is at this version still. Of two requests that read the same version the second gets
---a conflict, and may read again.
---
---Errors: `conflict`, `badarg`, `closed`, `server`, `timeout`, `busy`, `refused`, `lost`, `protocol`, `nomem` - `closed`, with `status` 401: there is no such session any more
---
---Raises: for data that is not plain, for a wrong version
---@param token string
---@param data table in place of all that was there, as for `open`
---@param version integer that of the session that was read
---@return integer? version the new one
---@return tidepool.Err? err
function Sessions:set(token, data, version) end

---Gives a session a new token; the old one is worth nothing from here on. At each login, so that a token that somebody
---else put into the browser before is not the one that is logged in.
---
---Errors: `closed`, `server`, `timeout`, `busy`, `refused`, `lost`, `protocol`, `nomem` - `closed`, with `status` 401: there is no such session
---
---Raises: as `open`
---@param token string
---@param user? string|number whose it is now; without one, whose it was
---@return string? token the new one
---@return tidepool.Err? err
function Sessions:rotate(token, user) end

---Ends a session, as at a logout.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem` - it may still be there
---@param token string
---@return boolean? is_closed false when there was none
---@return tidepool.Err? err
function Sessions:close(token) end

---Ends all sessions of a user, as when the password was changed.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem`
---@param user string|number
---@return integer? count how many there were
---@return tidepool.Err? err
function Sessions:close_all(user) end

---The value of a reply's `Set-Cookie` by which a browser keeps the token for the ttl. Scripts of pages cannot read it.
---
---Raises: for an unknown or wrong option
---@param token? string without one: the browser forgets it
---@param opts? tidepool.CookieOptions
---@return string value
function Sessions:cookie(token, opts) end

---The session of a request's cookie.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem`
---@param req tidepool.Request
---@return tidepool.Session? session nil, without an err, when there is none
---@return tidepool.Err? err
function Sessions:of_request(req) end

---@return tidepool.SessionStats stats of this process, from its start on
function Sessions:stats() end

---A session as it was when it was read; changing it changes nothing but this copy.
---@class tidepool.Session
---@field token string a secret: for the client's cookie, not for logs
---@field id string
---@field user? string whose it is
---@field version integer 1, and one more by each `set`
---@field data table

---@class tidepool.CookieOptions
---@field secure? boolean over TLS only, true
---@field same_site? "Strict"|"Lax"|"None" which requests of other sites bring it: none, links ("Lax", the default), all
---@field path? string "/"
---@field domain? string with those below it; without it, this host alone

---of this process, from its start on
---@class tidepool.SessionStats
---@field name string
---@field opened integer
---@field closed integer
---@field rotated integer
---@field conflicts integer
---@field unknown integer looks that found none
---@field from_redis integer looks that Redis answered
---@field from_postgres integer looks that Postgres answered
---@field redis_failures integer after which Postgres was read
---@field caught_up integer rows that Redis was told of later
---@field is_behind boolean Postgres is read until Redis is told
---@field last_error? tidepool.Err of Redis, or of telling it

---@class tidepool.LeaderboardOptions
---@field redis tidepool.Redis
---@field name string what keys and table are called: up to 40 of a-z, 0-9 and _
---@field db? tidepool.Postgres a copy for when Redis loses its data, in a table that `create()` makes
---@field mode? "best"|"sum"|"last" which value counts: the best one ("best", the default), all together, the last one
---@field order? "desc"|"asc" the highest first ("desc", the default), or the lowest, which is the best then
---@field flush? number seconds in which values are collected for one batch; 0, the default: those of one turn of the loop
---@field snapshot? number seconds between copies to Postgres, of what was changed; without it, when `snapshot()` is called

---A leaderboard, or a season of one.
---@class tidepool.Leaderboard
---@field schema? string with `db`: the statement that `create()` runs, for migrations
local Leaderboard = {}

---Makes the table, where there is none.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `nomem`
---
---Raises: without `db`
---@return true? done
---@return tidepool.Err? err
function Leaderboard:create() end

---Gives a player a value. Calls at the same time go to Redis together, values of one player as one; each returns when its
---batch was written. With an err of code `lost` it may have been written: in mode `sum`, do not just repeat it.
---
---Errors: `badarg`, `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem` - `badarg`: the sum would be infinite
---
---Raises: for a wrong player or value
---@param player string|number UTF-8 of 1 to 200 bytes, without controls; a number becomes text
---@param value number finite
---@return number? value the one that counts now
---@return tidepool.Err? err
function Leaderboard:score(player, value) end

---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem`
---@param player string|number
---@return integer? rank from 1 on; nil, without an err, when there is no such player; `value?: number` - theirs
---@return tidepool.Err? err
function Leaderboard:rank(player) end

---The first of them.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem`
---@param n? integer how many, 10; up to 1000
---@param offset? integer how many are left out before, 0
---@return tidepool.Ranked[]? ranked
---@return tidepool.Err? err
function Leaderboard:top(n, offset) end

---A player, and those before and after.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem`
---@param player string|number
---@param n? integer how many on each side, 5; up to 1000
---@return tidepool.Ranked[]? ranked nil, without an err, when there is no such player
---@return tidepool.Err? err
function Leaderboard:around(player, n) end

---Takes a player off, in Postgres too.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem`
---@param player string|number
---@return boolean? is_removed false when there was none
---@return tidepool.Err? err
function Leaderboard:remove(player) end

---The same leaderboard for a season: keys and rows of its own, which begin empty.
---
---Raises: for another name
---@param name string up to 60 letters, digits and `_.-`
---@return tidepool.Leaderboard season
function Leaderboard:season(name) end

---Writes to Postgres what has changed there. Twice the same changes nothing. Of several processes with `snapshot = seconds`
---one writes in an interval.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem`
---
---Raises: without `db`
---@return integer? count how many rows were written
---@return tidepool.Err? err
function Leaderboard:snapshot() end

---Gives Redis what Postgres has that Redis has not, or not as good or as late. This happens by itself when Redis lost all.
---
---Errors: `server`, `timeout`, `busy`, `refused`, `closed`, `lost`, `protocol`, `nomem`
---
---Raises: without `db`
---@return integer? count how many rows there are
---@return tidepool.Err? err
function Leaderboard:restore() end

---@return tidepool.LeaderboardStats stats of this process, from its start on
function Leaderboard:stats() end

---@class tidepool.Ranked
---@field rank integer
---@field player string
---@field value number

---of this process, from its start on
---@class tidepool.LeaderboardStats
---@field name string
---@field season string "" without one
---@field scores integer values that were set
---@field coalesced integer of these, put together with another one of the player before they were sent
---@field batches integer that they were sent in
---@field snapshots integer
---@field saved integer rows that these wrote
---@field snapshot_failures integer
---@field restores integer
---@field restored integer rows that these read
---@field is_dirty boolean values were set after the last snapshot
---@field last_error? tidepool.Err

---What `settings()` gives, and what `set` takes of it. The configuration has the same names; their defaults are in
---../README.md. Times are seconds.
---@class tidepool.PoolSettings
---@field max_connections? integer hard cap, opening ones included
---@field min_connections? integer kept open
---@field acquire_timeout? number deadline of a lease, queue included
---@field connect_timeout? number one attempt: dns + tcp + tls + auth
---@field statement_timeout? number default deadline of a statement
---@field idle_timeout? number idle beyond min is closed
---@field max_lifetime? number then replaced; jitter 10 %, paced
---@field test_before_acquire? boolean round trip before a lease after a quiet time
---@field test_after? number the quiet time, since the last byte
---@field max_waiters? integer beyond: refused at once, busy
---@field connect_rate? integer connects a second, `max_connections` of them at once; 0: no limit
---@field concurrency? integer most connections lent at once; 0: all
---@field codel_target? number waits that stay over this are shed (`busy`), the newest go first meanwhile; 0 never
---@field codel_interval? number how long they have to stay so
---@field share_critical? number turns of the class critical, while several classes wait
---@field share_normal? number the same of the class normal
---@field share_batch? number the same of the class batch
---@field shed_critical? number when the class critical is shed: the lowest first
---@field shed_normal? number the same of the class normal
---@field shed_batch? number the same of the class batch
---@field lanes? integer most connections shared as lanes at once
---@field group_max? integer most statements in a group on a lane
---@field group_target? number longest planned group; slower statements run on a lease
---@field stall_timeout? number a lane with replies due and no byte for this long is closed
---@field statement_cache? integer prepared statements kept per connection
---@field acquire_slow_threshold? number warn of a wait this long
---@field leak_threshold? number warn of a lease this long; 0 never
---@field leak_reclaim? number take back a lease this long: its handle says so, what it ran is cancelled; 0 never

---What `stats()` gives.
---@class tidepool.PoolStats
---@field name string
---@field kind "postgres"|"redis"
---@field open integer connections, those in these states together:
---@field opening integer being connected
---@field idle integer free
---@field leased integer lent to one caller
---@field shared integer lanes, many callers on each
---@field testing integer a round trip before a lease
---@field hooked integer a hook runs on it
---@field resetting integer came back dirty, being cleaned
---@field cancelling integer came back busy, being stopped
---@field closing integer
---@field waiting integer those who stand in line
---@field elsewhere integer connections of other workers, of the same `max`
---@field ghosts integer those of dead workers that the server still has
---@field queued integer statements that wait for a connection to share
---@field due integer on lanes, without an answer yet: groups of Postgres' statements, commands of Redis
---@field oldest_wait number seconds: how long the first of both waits
---@field max integer connections
---@field min integer connections
---@field down boolean the server cannot be reached
---@field paused boolean
---@field exhausted boolean all connections are in use and somebody waits, for a second or more
---@field last_error? string of a connect
---@field counters tidepool.PoolCounters only grow
---@field errors tidepool.PoolErrors operations that failed, by the code of their err, each once; only grow
---@field closes tidepool.PoolCloses closed connections by reason, only grow
---@field wait tidepool.Histogram of waits for a connection
---@field create tidepool.Histogram of connects
---@field use tidepool.Histogram of leases
---@field queue tidepool.Histogram of statements until one is sent on a connection that is shared
---@field service tidepool.Histogram of these, from then to the answer
---@field phases tidepool.WaitPhases of waits, by what was waited for
---@field subscriber? tidepool.SubscriberStats of all subscriptions together, where there were some
---@field consumers? tidepool.ConsumerStats[] of the consumers of streams that run

---only grow
---@class tidepool.PoolCounters
---@field arrivals integer leases and statements asked for
---@field completions integer leases given back and statements answered
---@field acquires integer leases and lanes handed out
---@field waits integer of these, after standing in line
---@field timeouts integer waits that ended at their deadline
---@field busy integer refused: the line was full
---@field shed integer refused: waits stayed over `codel_target`
---@field refused integer refused: the server cannot be reached
---@field closed integer refused: the pool was closing
---@field nested integer refused: all are held by who waits for another
---@field cancelled integer waits that their caller gave up
---@field connects integer connection attempts begun
---@field connect_failures integer connection attempts that failed
---@field connects_delayed integer times that connects had to wait for `connect_rate`
---@field permits_refused integer times that other workers had all connections
---@field yields integer connections closed for another worker's sake
---@field tests integer connections tested before a lease
---@field hooks integer hooks run on connections
---@field resets integer connections that came back dirty
---@field cancels integer connections that came back busy
---@field shared_statements integer statements sent on lanes
---@field groups integer groups that these were sent in
---@field resends integer of these, sent once more
---@field reroutes integer refused by a read lane, sent on a write lane
---@field slow_acquires integer waits over `acquire_slow_threshold`
---@field outdated integer times that the server was not what it was
---@field leaks integer leases over `leak_threshold`
---@field exhaustions integer times that all were in use, and somebody waited
---@field degradations integer times that the server could not be reached
---@field reclaims integer leases taken back after `leak_reclaim`

---operations that failed, by the code of their err, each once; only grow
---@class tidepool.PoolErrors
---@field badarg integer
---@field nomem integer
---@field refused integer
---@field timeout integer
---@field busy integer
---@field closed integer
---@field lost integer
---@field server integer
---@field cancelled integer
---@field protocol integer
---@field budget integer
---@field internal integer
---@field conflict integer none: these are of building blocks such as sessions

---closed connections by reason, only grow
---@class tidepool.PoolCloses
---@field connect_failed integer
---@field connect_timeout integer
---@field idle_timeout integer
---@field lifetime integer
---@field lost integer by the peer or the network
---@field test_failed integer
---@field reset_failed integer
---@field cancel_failed integer
---@field spent integer it could not be made clean
---@field stalled integer replies were due, and no byte came
---@field hook_failed integer it gave or raised an error, or took too long
---@field hook_refused integer it gave false
---@field shrunk integer `max_connections` was lowered
---@field yielded integer another worker needs it more
---@field drained integer
---@field outdated integer the server is not what it was
---@field pool_closed integer

---of waits for a connection
---@class tidepool.Histogram
---@field count integer
---@field sum number seconds
---@field max number seconds
---@field p50 number seconds: half of them took no longer
---@field p90 number
---@field p99 number
---@field buckets tidepool.Bucket[] for other quantiles

---for other quantiles
---@class tidepool.Bucket
---@field le number seconds
---@field count integer how many took no longer

---of waits, by what was waited for
---@class tidepool.WaitPhases
---@field queue tidepool.Histogram
---@field dns tidepool.Histogram
---@field tcp tidepool.Histogram
---@field tls tidepool.Histogram
---@field auth tidepool.Histogram
---@field init tidepool.Histogram
---@field test tidepool.Histogram
---@field hook tidepool.Histogram

---of all subscriptions together, where there were some
---@class tidepool.SubscriberStats
---@field subscriptions integer
---@field channels integer
---@field connected boolean
---@field messages integer
---@field dropped integer
---@field gaps integer
---@field failures integer errors of their functions
---@field losses integer lost connections

return Tide
